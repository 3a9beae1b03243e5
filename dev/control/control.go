// SPDX-License-Identifier: Apache-2.0

// Package control lets other processes provoke faults in a running fleet: `huskd dev node` and the
// tests. The process that runs the stack serves a unix socket in the state directory; client.go has
// the other side.
package control

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"husk/dev"
	"husk/dev/fabric"
)

func socket(stateDir string) string { return filepath.Join(stateDir, "control.sock") }

// Host is a host of a fleet.
type Host struct {
	Name    string
	Kind    dev.HostKind
	Address string
	State   dev.HostState
	Cuts    []fabric.Cut
	Libvirt string // its URI, for processes of this machine
	OVS     string // the socket of its OVSDB, if it is a node
	Overlay string // its address for tunnels, if it is a node
	PID     int    // of its process 1; 0: off
}

// A cut is the body of a request for one.
type cut struct {
	From      string
	Direction fabric.Direction
}

// Serve serves the stack's socket. It returns a function that stops that.
func Serve(stack *dev.Stack) (stop func() error, err error) {
	path := socket(stack.StateDir())
	_ = os.Remove(path) // of an earlier process; only the holder of the state directory gets here
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: handler(stack), ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	return func() error {
		err := server.Close()
		if e := <-done; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}, nil
}

func handler(stack *dev.Stack) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hosts", func(w http.ResponseWriter, _ *http.Request) {
		hosts := []Host{}
		for _, h := range stack.Hosts() {
			state, cuts := h.State()
			one := Host{Name: h.Name, Kind: h.Kind, Address: h.Addr.String(), State: state, Cuts: cuts, Libvirt: h.LibvirtURI(), PID: h.PID()}
			if h.Kind == dev.NodeHost {
				one.OVS, one.Overlay = h.OVS(), h.Overlay.String()
			}
			hosts = append(hosts, one)
		}
		answer(w, hosts, nil)
	})
	for verb, do := range map[string]func(*http.Request, *dev.Host) error{
		"start":  func(r *http.Request, h *dev.Host) error { return h.Start(r.Context()) },
		"kill":   func(_ *http.Request, h *dev.Host) error { return h.Kill() },
		"freeze": func(_ *http.Request, h *dev.Host) error { return h.Freeze() },
		"thaw":   func(_ *http.Request, h *dev.Host) error { return h.Thaw() },
		"heal":   func(_ *http.Request, h *dev.Host) error { return h.Heal() },
		"cut": func(r *http.Request, h *dev.Host) error {
			var c cut
			if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
				return err
			}
			return h.Cut(c.From, c.Direction)
		},
	} {
		mux.HandleFunc("POST /hosts/{name}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			h, err := find(stack, r.PathValue("name"))
			if err == nil {
				err = do(r, h)
			}
			answer(w, nil, err)
		})
	}
	mux.HandleFunc("GET /processes", func(w http.ResponseWriter, _ *http.Request) {
		all, err := stack.Processes()
		answer(w, all, err)
	})
	mux.HandleFunc("POST /processes/{name}/{fault}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, nil, stack.Provoke(r.PathValue("name"), dev.Fault(r.PathValue("fault"))))
	})
	return mux
}

func find(stack *dev.Stack, name string) (*dev.Host, error) {
	for _, h := range stack.Hosts() {
		if h.Name == name {
			return h, nil
		}
	}
	if len(stack.Hosts()) == 0 {
		return nil, errors.New("this installation runs on the machine itself; faults of nodes need one that was started with --nodes")
	}
	return nil, errors.New("the fleet has no host " + name)
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // without a client nobody needs it
}
