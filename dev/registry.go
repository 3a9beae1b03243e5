// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// registry is Debian's docker-registry on loopback, for demo images and tests.
func (s *Stack) registry() *part {
	var path string
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.cfg.RegistryPort))
	return &part{
		name: "registry",
		check: func() error {
			var err error
			path, err = lookPath("docker-registry", "docker-registry")
			return errors.Join(err, portFree(addr, "registry-port"))
		},
		start: func(ctx context.Context, p *part) (string, error) {
			conf, err := s.registryConf(addr)
			if err != nil {
				return "", err
			}
			return "on " + addr.String(), s.spawnIn(ctx, p, spec{
				name: "registry", path: path, args: []string{"serve", conf},
				env:    []string{"OTEL_TRACES_EXPORTER=none"}, // otherwise it sends traces to a collector that does not exist
				signal: syscall.SIGTERM, grace: 5 * time.Second,
			}, 20*time.Second, func(ctx context.Context) error { return registryAnswers(ctx, addr) })
		},
	}
}

func (s *Stack) registryConf(addr netip.AddrPort) (string, error) {
	secret, err := s.dir.secret("registry")
	if err != nil {
		return "", err
	}
	if err := s.dir.mkdir("registry", 0o700); err != nil {
		return "", err
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\n")
	fmt.Fprintf(&conf, "storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\n", s.dir.join("registry", "data"))
	fmt.Fprintf(&conf, "http: {addr: %q, secret: %q}\n", addr, secret)
	if s.cfg.RegistryUser != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(s.cfg.RegistryPassword), bcrypt.MinCost)
		if err != nil {
			return "", err
		}
		htpasswd := s.dir.join("registry", "htpasswd")
		if err := os.WriteFile(htpasswd, fmt.Appendf(nil, "%s:%s\n", s.cfg.RegistryUser, hash), 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&conf, "auth: {htpasswd: {realm: husk, path: %q}}\n", htpasswd)
	}
	path := s.dir.join("registry", "config.yml")
	return path, os.WriteFile(path, []byte(conf.String()), 0o600)
}

func registryAnswers(ctx context.Context, addr netip.AddrPort) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+"/v2/", nil)
	if err != nil {
		return err
	}
	req.Close = true // leave no idle connection
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("the registry responded %s", resp.Status)
	}
	return nil
}

// RegistryAddr returns host:port of the registry, which uses plain HTTP.
func (s *Stack) RegistryAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.cfg.RegistryPort) }
