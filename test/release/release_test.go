// SPDX-License-Identifier: Apache-2.0

//go:build release

package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/uuid"

	"husk/client"
	"husk/dev"
	"husk/dev/devtest"
	"husk/openapi"
	"husk/test/docs"
	"husk/test/images"
	"husk/version"
)

func TestMain(m *testing.M) { devtest.Main(m) }

// machine is the container with the packages.
type machine struct {
	t    *testing.T
	root string
}

// boot lets systemd boot in the container, with the network of this test.
func boot(t *testing.T) machine {
	t.Helper()
	m := machine{t, os.Getenv("HUSK_RELEASE_ROOT")}
	if m.root == "" {
		t.Fatal("HUSK_RELEASE_ROOT is not set; run make release-check")
	}
	var console bytes.Buffer
	cmd := exec.Command("systemd-nspawn", "--quiet", "--directory", m.root, "--boot", "--register=no", "--keep-unit", "--machine=husk-release-check", "--capability=all", "systemd.unit=multi-user.target")
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = m.try("systemctl", "poweroff", "--force")
		if err := cmd.Wait(); err != nil {
			t.Logf("the container ended: %v", err)
		}
		if t.Failed() {
			t.Log(console.String())
		}
	})
	m.eventually(time.Minute, func() error {
		out, err := m.try("systemctl", "is-system-running")
		if state := strings.TrimSpace(out); state == "running" || state == "degraded" {
			return nil
		}
		return errors.Join(err, fmt.Errorf("the system is %q", out))
	})
	return m
}

// try runs a command in the container.
func (m machine) try(args ...string) (string, error) {
	// The leader of the container is the child of systemd-nspawn.
	pids, err := exec.Command("pgrep", "-f", "systemd-nspawn.*--machine=husk-release-check").Output()
	if err != nil {
		return "", fmt.Errorf("systemd-nspawn does not run: %w", err)
	}
	leader, err := exec.Command("pgrep", "-P", strings.Fields(string(pids))[0]).Output()
	if err != nil {
		return "", fmt.Errorf("systemd does not run: %w", err)
	}
	enter := []string{"--target", strings.Fields(string(leader))[0], "--mount", "--uts", "--ipc", "--pid", "--root", "--wd=/"}
	out, err := exec.Command("nsenter", append(enter, args...)...).CombinedOutput()
	return string(out), err
}

func (m machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (m machine) write(file, text string, mode os.FileMode) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, file), []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// set gives settings values in a file of /etc/husk.
func (m machine) set(file string, values map[string]string) {
	m.t.Helper()
	if err := docs.Set(filepath.Join(m.root, "/etc/husk", file), values); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) eventually(limit time.Duration, check func() error) {
	m.t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	m.t.Fatal(err)
}

// active waits until a unit is active, and shows its log if it is not.
func (m machine) active(unit string) {
	m.t.Helper()
	m.eventually(30*time.Second, func() error {
		if out, err := m.try("systemctl", "is-active", unit); err != nil {
			log, _ := m.try("journalctl", "--unit", unit, "--no-pager", "--lines", "30")
			return fmt.Errorf("%s is %s\n%s", unit, strings.TrimSpace(out), log)
		}
		return nil
	})
}

const listen, agentListen = "127.0.0.1:8080", "127.0.0.1:8443"

// The steps of docs/install.md on one machine: the packages are installed already. The server and the
// agent run from their units, in the sandbox of systemd.
func TestThePackagesRunAsDocumented(t *testing.T) {
	m := boot(t)
	storage := devtest.Ceph(t)
	database, err := url.Parse(devtest.Postgres(t)("husk_owner"))
	if err != nil {
		t.Fatal(err)
	}
	database.User = url.UserPassword("", password(database))

	// The server.
	secret, operator := strings.Repeat("5a", 24), uuid.NewString()
	m.write("/etc/husk/master.key", strings.Repeat("a5", 32), 0o640)
	m.write("/etc/husk/operator.secret", secret, 0o640)
	keyring, err := os.ReadFile(storage.CephKeyring())
	if err != nil {
		t.Fatal(err)
	}
	m.write("/etc/husk/ceph.client.husk-server.keyring", string(keyring), 0o640)
	m.run("chgrp", "husk-server", "/etc/husk/master.key", "/etc/husk/operator.secret", "/etc/husk/ceph.client.husk-server.keyring")
	m.set("server.yaml", map[string]string{
		"database-url": quoted(database.String()), "master-key-file": "/etc/husk/master.key",
		"ceph-monitors": "[" + strings.Join(storage.MonHosts(), ",") + "]", "ceph-keyring": "/etc/husk/ceph.client.husk-server.keyring", "ceph-user": dev.CephUser,
		"allow-egress": "[127.0.0.0/8]", "operator-client-id": operator, "operator-secret-file": "/etc/husk/operator.secret",
	})
	m.run("systemctl", "enable", "--now", "husk-server.service")
	m.active("husk-server.service")
	m.eventually(time.Minute, ready)
	if user := strings.Fields(m.run("ps", "-o", "user:32=", "-C", "huskd")); len(user) == 0 || user[0] != "husk-server" {
		t.Errorf("the server runs as %q", user)
	}

	api, err := client.New("http://"+listen, client.WithAPIKey(operator, secret))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := api.Platform(t.Context()); err != nil || p.Version != version.Number() || p.Commit == nil {
		t.Errorf("the server says %+v (%v)", p, err)
	}
	// A tenant's volume is formatted, and an image is imported by processes with user namespaces, inside of
	// the sandbox.
	owner := tenant(t, api)
	image, err := owner.Images.Import(t.Context(), openapi.ImageImport{Reference: pushed(t)})
	if err != nil {
		t.Fatal(err)
	}
	if now, err := owner.Images.WaitReady(t.Context(), image.ID); err != nil {
		t.Fatalf("the image is %+v: %v\n%s", now, err, m.run("journalctl", "--unit", "husk-server.service", "--no-pager", "--lines", "20"))
	}
	v, err := owner.Volumes.Create(t.Context(), openapi.VolumeCreate{Name: "data", SizeGiB: 1})
	if err != nil {
		t.Fatal(err)
	}
	m.eventually(time.Minute, func() error {
		now, err := owner.Volumes.Get(t.Context(), v.ID)
		if err == nil && now.State != openapi.VolumeStateAvailable {
			err = fmt.Errorf("the volume is %s: %s", now.State, m.run("journalctl", "--unit", "husk-server.service", "--no-pager", "--lines", "20"))
		}
		return err
	})

	// The agent. There is no OVN here, so nothing is scheduled to its node.
	join, err := api.Nodes.CreateJoinToken(t.Context(), openapi.JoinTokenCreate{})
	if err != nil {
		t.Fatal(err)
	}
	m.set("agent.yaml", map[string]string{
		"server": "https://" + agentListen, "listen": "127.0.0.1:7443", "ovn-southbound": "[tcp:127.0.0.1:6642]", "overlay-address": "127.0.0.1",
		"join-token": quoted(join.Token), "allow-emulation": "true", "node-name": "packaged",
	})
	m.run("systemctl", "enable", "--now", "husk-agent.service")
	m.active("husk-agent.service")
	m.eventually(time.Minute, func() error {
		nodes, err := api.Nodes.List(t.Context())
		if err == nil && (len(nodes) != 1 || nodes[0].Name != "packaged" || nodes[0].State != openapi.NodeStateReady) {
			raw, _ := json.Marshal(nodes)
			log, _ := m.try("journalctl", "--unit", "husk-agent.service", "--no-pager", "--lines", "20")
			err = fmt.Errorf("the nodes are %s\n%s", raw, log)
		}
		return err
	})

	// A restart keeps the identity, also without the token.
	m.set("agent.yaml", map[string]string{"join-token": `""`})
	m.run("systemctl", "restart", "husk-agent.service", "husk-server.service")
	m.active("husk-agent.service")
	m.active("husk-server.service")
	m.eventually(time.Minute, ready) // a start that is interrupted is an error
	m.run("systemctl", "stop", "husk-agent.service", "husk-server.service")
	for _, unit := range []string{"husk-agent.service", "husk-server.service"} {
		if result := strings.TrimSpace(m.run("systemctl", "show", "--property=Result", "--value", unit)); result != "success" {
			t.Errorf("%s ended with %s", unit, result)
		}
	}
}

func ready() error {
	resp, err := http.Get("http://" + listen + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// tenant makes a tenant and returns a client for its owner.
func tenant(t *testing.T, operator *client.Client) *client.Client {
	t.Helper()
	made, err := operator.Tenants.Create(t.Context(), openapi.TenantCreate{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	key, err := operator.Tenants.CreateKey(t.Context(), made.ID, openapi.TenantKeyCreate{Name: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(operator.URL(), client.WithAPIKey(key.ClientID.String(), key.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pushed returns the reference of an image in a registry.
func pushed(t *testing.T) string {
	t.Helper()
	image, err := random.Image(1<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Cmd = "linux", "amd64", []string{"/x"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), devtest.Registry(t), map[string]v1.Image{"random": image})
	if err != nil {
		t.Fatal(err)
	}
	return refs["random"]
}

func password(u *url.URL) string {
	p, _ := u.User.Password()
	return p
}

// quoted writes a value of YAML.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
