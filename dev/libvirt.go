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

// libvirt starts libvirtd and virtlogd if they do not run yet, and later stops only what it
// started. Running domains survive libvirtd, so their owner must end them first.
func (s *Stack) libvirt() *part {
	var virtlogd, libvirtd, virsh string
	return &part{
		name: "libvirt",
		check: func() (err error) {
			if answers(libvirtSocket) {
				return nil
			}
			if virtlogd, err = lookPath("virtlogd", "libvirt-daemon"); err != nil {
				return err
			}
			if libvirtd, err = lookPath("libvirtd", "libvirt-daemon-system"); err != nil {
				return err
			}
			virsh, err = lookPath("virsh", "libvirt-clients")
			return err
		},
		start: func(ctx context.Context, p *part) (string, error) {
			if libvirtd == "" {
				return "(already running)", nil
			}
			if err := os.MkdirAll(filepath.Dir(libvirtSocket), 0o755); err != nil {
				return "", err
			}
			if !answers(virtlogdSocket) {
				err := s.spawnIn(ctx, p, spec{name: "virtlogd", path: virtlogd, signal: syscall.SIGTERM, grace: 5 * time.Second},
					10*time.Second, func(ctx context.Context) error { return dial(ctx, virtlogdSocket) })
				if err != nil {
					return "", err
				}
			}
			return "at " + libvirtURI, s.spawnIn(ctx, p, spec{name: "libvirtd", path: libvirtd, signal: syscall.SIGTERM, grace: 10 * time.Second},
				30*time.Second, func(ctx context.Context) error {
					if err := dial(ctx, libvirtSocket); err != nil {
						return err
					}
					// The socket exists before the QEMU driver is loaded.
					_, _, err := s.run(ctx, nil, "", virsh, "-c", libvirtURI, "version")
					return err
				})
		},
	}
}

// LibvirtURI returns the URI of libvirt.
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
