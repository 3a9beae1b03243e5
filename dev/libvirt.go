// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	virtlogdSocket = "/run/libvirt/virtlogd-sock"
	libvirtSocket  = "/run/libvirt/libvirt-sock"
	libvirtURI     = "qemu:///system"
)

// libvirt starts libvirtd and virtlogd on this machine if they do not run yet, and later stops only
// what it started. Running domains survive libvirtd, so their owner must end them first.
func (s *Stack) libvirt() *part {
	var tools libvirtTools
	return &part{
		name: "libvirt",
		check: func() (err error) {
			if !answers(libvirtSocket) {
				tools, err = findLibvirt()
			}
			return err
		},
		start: func(ctx context.Context, p *part) (string, error) {
			if tools.libvirtd == "" {
				return "(already running)", nil
			}
			return "at " + libvirtURI, s.startLibvirt(ctx, tools, nil, &p.children)
		},
	}
}

type libvirtTools struct{ virtlogd, libvirtd, virsh string }

func findLibvirt() (t libvirtTools, err error) {
	if t.virtlogd, err = lookPath("virtlogd", "libvirt-daemon"); err != nil {
		return t, err
	}
	if t.libvirtd, err = lookPath("libvirtd", "libvirt-daemon-system"); err != nil {
		return t, err
	}
	t.virsh, err = lookPath("virsh", "libvirt-clients")
	return t, err
}

// startLibvirt starts the daemons on a host, or on this machine without one.
func (s *Stack) startLibvirt(ctx context.Context, tools libvirtTools, h *Host, children *[]*child, args ...string) error {
	logSocket, socket, uri := h.path(virtlogdSocket), h.path(libvirtSocket), h.LibvirtURI()
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	if !answers(logSocket) {
		err := s.spawnAs(ctx, children, spec{name: "virtlogd", path: tools.virtlogd, signal: syscall.SIGTERM, grace: 5 * time.Second, host: h},
			10*time.Second, func(ctx context.Context) error { return dial(ctx, logSocket) })
		if err != nil {
			return err
		}
	}
	return s.spawnAs(ctx, children, spec{name: "libvirtd", path: tools.libvirtd, args: args, signal: syscall.SIGTERM, grace: 10 * time.Second, host: h},
		30*time.Second, func(ctx context.Context) error {
			if err := dial(ctx, socket); err != nil {
				return err
			}
			// The socket exists before the QEMU driver is loaded.
			_, _, err := s.run(ctx, nil, "", tools.virsh, "-c", uri, "version")
			return err
		})
}

// LibvirtURI returns the URI of this machine's libvirt.
func (s *Stack) LibvirtURI() string { return libvirtURI }

func answers(socket string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return dial(ctx, socket) == nil
}

func dial(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return conn.Close()
}
