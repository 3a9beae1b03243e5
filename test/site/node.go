// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
	"husk/openapi/agentclient"
	"husk/pki"
	"husk/session"
	"husk/session/ws"
	"husk/store"
	"husk/store/desired"
)

// node is an agent that uses the API but has no machines. Its containers understand a few commands
// as their arguments:
//
//	say TEXT         prints TEXT and exits with 0, as echo TEXT does
//	fail CODE TEXT   prints TEXT on standard error and exits with CODE
//	stay TEXT        prints TEXT and runs until the pod is deleted
//	repeat TEXT      prints TEXT and then its input from attached clients, until the input ends; exits with 9 after the line "bye"
//
// Exec runs the same commands. A forwarded port echoes. A container has a single file: copying from
// any path returns it, and copying to any path replaces it.
//
// The node also does the work of the server's loops, without delay: it creates volumes, deletes
// volumes and images, and schedules pods.
type node struct {
	store store.Control
	id    uuid.UUID

	mu   sync.Mutex
	pods map[uuid.UUID]*pod
}

// pod is a pod that the node has started.
type pod struct {
	line, stream string
	at           time.Time
	event        husk.PhaseEvent
	code         int
	spec         husk.Container
	file         []byte // a tar archive
}

func startNode(t testing.TB, s *Site) {
	t.Helper()
	operator, err := client.New(s.URL, client.WithAPIKey(s.Operator.String(), OperatorSecret))
	if err != nil {
		t.Fatal(err)
	}
	join, err := operator.Nodes.CreateJoinToken(t.Context(), openapi.JoinTokenCreate{})
	if err != nil {
		t.Fatal(err)
	}
	_, fingerprint, err := pki.SplitJoinToken(join.Token)
	if err != nil {
		t.Fatal(err)
	}
	key, request, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.Decode[openapi.NodeIdentity](agentAPI(t, s, pki.JoinClient(fingerprint)).RegisterNode(t.Context(),
		openapi.NodeRegistration{Token: join.Token, Name: "node-1", CertificateRequest: request}))
	if err != nil {
		t.Fatal(err)
	}
	root, err := pki.ParseRoot(made.Authority)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pki.NodeCertificate(root, made.NodeID.String(), made.Certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	holder := &pki.NodeHolder{}
	holder.Replace(certificate)
	n := &node{store: s.Control, id: made.NodeID, pods: map[uuid.UUID]*pod{}}
	paths := http.NewServeMux()
	paths.HandleFunc("GET /v1/pods/{id}/logs", n.logs)
	paths.HandleFunc("GET /v1/pods/{id}/attach", n.attach)
	paths.HandleFunc("GET /v1/pods/{id}/exec", n.exec)
	paths.HandleFunc("GET /v1/pods/{id}/port-forward", n.forward)
	paths.HandleFunc("GET /v1/pods/{id}/copy-out", n.copyOut)
	paths.HandleFunc("GET /v1/pods/{id}/copy-in", n.copyIn)
	logs := httptest.NewUnstartedServer(paths)
	logs.TLS = pki.AgentListener(root, holder)
	logs.StartTLS()
	t.Cleanup(logs.Close)
	if _, err := client.Decode[openapi.Lease](agentAPI(t, s, pki.AgentClient(root, holder)).Heartbeat(t.Context(), openapi.Heartbeat{
		Capacity: openapi.Capacity{CPUMillis: 64_000, MemoryMiB: 65_536}, VmmOverheadMiB: 64, Endpoint: logs.URL,
	})); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := n.round(ctx); err != nil && ctx.Err() == nil {
				t.Log("node:", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// agentAPI returns a client of the agents' API.
func agentAPI(t testing.TB, s *Site, config *tls.Config) *agentclient.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := agentclient.NewClient(s.agentURL, agentclient.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// round runs each of the loops of server and node once.
func (n *node) round(ctx context.Context) error {
	for kind, do := range map[store.WorkKind]func(store.Work) error{
		store.VolumeCreation: func(w store.Work) error {
			return n.store.VolumeMade(ctx, husk.Volume{TenantID: w.TenantID, ID: w.ObjectID}, "rbd-"+w.ObjectID.String(), nil)
		},
		store.VolumeRemoval: func(w store.Work) error {
			return n.store.VolumeRemoved(ctx, husk.Volume{TenantID: w.TenantID, ID: w.ObjectID})
		},
		store.ImageRemoval: func(w store.Work) error {
			return n.store.ImageRemoved(ctx, husk.Image{TenantID: w.TenantID, ID: w.ObjectID})
		},
	} {
		if err := n.each(ctx, kind, do); err != nil {
			return err
		}
	}
	pending, err := n.store.PendingPods(ctx, 100)
	if err != nil {
		return err
	}
	capacities, err := n.store.NodeCapacities(ctx)
	if err != nil {
		return err
	}
	for _, p := range pending {
		if p.WaitsFor == "" && len(capacities) == 1 {
			if _, err := n.store.CommitPlacements(ctx, 0, []store.Placement{{
				Pod: store.PodKey{TenantID: p.TenantID, ID: p.ID}, Node: n.id, NodeVersion: capacities[0].Version,
			}}); err != nil {
				return err
			}
			break // the placement has changed the node's version
		}
	}
	if err := n.each(ctx, store.PodKeyCreation, func(w store.Work) error {
		_, placement, err := n.store.PodToKey(ctx, w)
		if err != nil {
			return err
		}
		return n.store.SetPodKeys(ctx, map[store.PlacementKey]string{{PodKey: store.PodKey{TenantID: w.TenantID, ID: w.ObjectID}, Number: placement}: "cephx"})
	}); err != nil {
		return err
	}
	state, err := n.store.Desired(ctx, n.id, nil)
	if err != nil {
		return err
	}
	var reports []husk.PodReport
	for _, c := range state.Changes {
		reports = append(reports, n.act(*c.Pod))
	}
	if len(reports) == 0 {
		return nil
	}
	return n.store.Report(ctx, n.id, reports)
}

// each does the work of one kind that is due.
func (n *node) each(ctx context.Context, kind store.WorkKind, do func(store.Work) error) error {
	claimed, err := n.store.ClaimWork(ctx, 0, store.Claim{Kind: kind, Max: 100, PerTenant: 100, Expires: time.Minute})
	if err != nil {
		return err
	}
	for _, w := range claimed {
		if err := do(w); err != nil {
			return err
		}
	}
	return nil
}

// act starts a pod's container if it is not started yet, and reports its state.
func (n *node) act(d desired.Pod) husk.PodReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	report := husk.PodReport{PodID: d.Pod.ID, Generation: d.Pod.Generation, Containers: []husk.ContainerStatus{}}
	if d.Pod.Status.Phase == husk.PhaseStopping { // deleted, evicted or stopped
		delete(n.pods, d.Pod.ID)
		report.Event = husk.EventGone
		return report
	}
	r := n.pods[d.Pod.ID]
	if r == nil {
		r = start(d.Pod.Spec.Containers[0])
		n.pods[d.Pod.ID] = r
	}
	report.Event = r.event
	status := husk.ContainerStatus{Name: d.Pod.Spec.Containers[0].Name, State: husk.ContainerRunning, StartedAt: &r.at}
	if r.event != husk.EventRunning {
		status.State, status.ExitCode = husk.ContainerExited, &r.code
	}
	if r.event == husk.EventFailed {
		report.Reason, report.Message = "ContainerFailed", fmt.Sprintf("container %s ended with exit code %d", status.Name, r.code)
	}
	report.Containers = append(report.Containers, status)
	return report
}

func start(c husk.Container) *pod {
	r := &pod{stream: "stdout", at: time.Now(), event: husk.EventRunning, spec: c}
	words := append(slices.Clone(c.Args), "", "", "")
	switch words[0] {
	case "say", "echo":
		r.line, r.event = words[1], husk.EventSucceeded
	case "fail":
		r.code, _ = strconv.Atoi(words[1])
		r.line, r.stream, r.event = words[2], "stderr", husk.EventFailed
	case "stay", "repeat":
		r.line = words[1]
	}
	return r
}

// logs serves a container's log as an agent does. A followed log stays open until the client
// disconnects.
func (n *node) logs(w http.ResponseWriter, r *http.Request) {
	pod := n.podOf(r)
	if pod == nil {
		http.NotFound(w, r)
		return
	}
	asJSON := r.Header.Get("Accept") == "application/x-ndjson"
	if asJSON {
		w.Header().Set("Content-Type", "application/x-ndjson")
		if r.URL.Query().Get("after") != "1" {
			fmt.Fprintf(w, `{"time":%q,"stream":%q,"line":%q,"cursor":"1"}`+"\n", pod.at.Format(time.RFC3339Nano), pod.stream, pod.line)
		}
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, pod.line)
	}
	if r.URL.Query().Get("follow") == "true" {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

func (n *node) podOf(r *http.Request) *pod {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pods[id]
}

// attach serves an attach session as an agent does.
func (n *node) attach(w http.ResponseWriter, r *http.Request) {
	pod := n.podOf(r)
	if pod == nil {
		http.NotFound(w, r)
		return
	}
	n.mu.Lock()
	over := pod.event != husk.EventRunning
	n.mu.Unlock()
	if over {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"type":"about:blank","title":"Conflict","status":409,"code":"conflict","detail":"the container does not run now"}`)
		return
	}
	conn, err := ws.Accept(w, r)
	if err != nil {
		return
	}
	defer func() { _ = conn.End() }()
	if r.URL.Query().Get("backlog") == "true" && conn.Send(session.Stdout, []byte(pod.line+"\n")) != nil {
		return
	}
	exit := func(event husk.PhaseEvent, code int) {
		n.mu.Lock()
		pod.event, pod.code = event, code
		n.mu.Unlock()
		_ = session.SendExit(conn, session.Status{Code: code})
	}
	for said := ""; ; {
		f, err := conn.Receive()
		switch {
		case err != nil:
			return
		case f.Kind == session.EOF && pod.spec.StdinOnce:
			exit(husk.EventSucceeded, 0)
			return
		case f.Kind == session.Stdin:
			said += string(f.Payload)
			if conn.Send(session.Stdout, f.Payload) != nil {
				return
			}
			if strings.Contains(strings.ReplaceAll(said, "\r", "\n"), "bye\n") {
				exit(husk.EventFailed, 9)
				return
			}
		}
	}
}
