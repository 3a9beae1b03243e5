// SPDX-License-Identifier: Apache-2.0

//go:build compose

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/dev"
	"husk/dev/balance"
	"husk/dev/host"
	"husk/openapi"
	"husk/test/docs"
	"husk/test/images"
	"husk/test/stack"
)

func TestMain(m *testing.M) {
	host.BeInit() // the node
	os.Exit(m.Run())
}

const (
	apiPort, agentsPort, prometheusPort = 8080, 8443, 9090
	registryPort, northboundPort        = 5000, 6641
	agentPort                           = 7443
)

// bed is what docker-compose.yml does not describe: Ceph, OVN, a registry and a node.
type bed struct {
	t     *testing.T
	work  string // a directory of the script run
	stack *dev.Stack
	entry netip.Addr // of this machine in the node's network
	env   []string   // of the shell that types what the documentation prints
}

func newBed(t *testing.T) *bed {
	t.Helper()
	work := os.Getenv("HUSK_COMPOSE_WORK")
	if work == "" {
		t.Fatal("HUSK_COMPOSE_WORK is not set; run make compose")
	}
	started, err := dev.Start(t.Context(), dev.Config{
		StateDir: filepath.Join(work, "stack"), Parts: dev.Ceph | dev.OVN | dev.Registry, OVNDir: "../../build/ovn", AwaitTLS: true, Throwaway: true,
		OSDSizeBytes: 8 << 30, RegistryPort: registryPort,
		Fabric: netip.MustParsePrefix("10.213.77.0/24"), Overlay: netip.MustParsePrefix("10.213.78.0/24"), Progress: dev.Lines(os.Stderr),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := started.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	b := &bed{t: t, work: work, stack: started, entry: started.EntryAddr()}
	// Containers do not reach this machine's loopback, where the registry is.
	if err := started.Balance(b.at(registryPort), balance.Backend{Addr: started.RegistryAddr()}); err != nil {
		t.Fatal(err)
	}
	return b
}

// at returns a port of this machine.
func (b *bed) at(port uint16) string { return netip.AddrPortFrom(b.entry, port).String() }

// startDocker starts dockerd with the images that the script run has built.
func (b *bed) startDocker() {
	b.t.Helper()
	dir := func(name string) string { return filepath.Join(b.work, name) }
	var log bytes.Buffer
	cmd := exec.Command("dockerd", "--host", "unix://"+dir("docker.sock"), "--data-root", dir("data"), "--exec-root", dir("exec"),
		"--pidfile", dir("docker.pid"), "--bridge", "none", "--cgroup-parent", "/"+filepath.Base(b.work))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	b.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			b.t.Logf("dockerd: %v", err)
		}
		if b.t.Failed() {
			b.t.Logf("the end of dockerd's log:\n%s", log.Bytes()[max(0, log.Len()-8000):])
		}
	})
	stack.Eventually(b.t, time.Minute, func() error {
		select {
		case err := <-ended:
			ended <- err
			b.t.Fatalf("dockerd has ended: %v\n%s", err, log.String())
		default:
		}
		_, err := b.shell("docker version")
		return err
	})
}

// shell runs a script in the folder of docker-compose.yml.
func (b *bed) shell(script string) (string, error) {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script) //nolint:gosec // our own documentation
	cmd.Dir = filepath.Join(b.work, "source")
	cmd.Env = append(os.Environ(), b.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w:\n%s%s\nof\n%s", err, out.String(), errs.String(), script)
	}
	return out.String(), nil
}

// run is shell, and the script must succeed. What it exports is there for later scripts, as in the shell of an operator.
func (b *bed) run(script string) string {
	b.t.Helper()
	out, err := b.shell(script)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, export := range regexp.MustCompile(`(?m)^export (\w+)=(\S+)`).FindAllStringSubmatch(script, -1) {
		b.env = append(b.env, export[1]+"="+export[2])
	}
	return out
}

// readPage reads what docs/compose.md types. Addresses and files are those of this test.
func (b *bed) readPage() map[string][]string {
	b.t.Helper()
	typed, err := docs.Console("../../docs/compose.md", strings.NewReplacer(
		"192.0.2.10", b.entry.String(),
		"192.0.2.11:6789,192.0.2.12:6789", strings.Join(b.stack.MonHosts(), ","),
		"192.0.2.12", b.entry.String(),
		"/etc/ceph/ceph.client.husk-server.keyring", filepath.Join(b.work, "ceph.keyring"),
		"/etc/husk/ovn", b.stack.OVNTLS(),
	))
	if err != nil {
		b.t.Fatal(err)
	}
	return typed
}

// startNode starts a node whose agent joins the server in its container.
func (b *bed) startNode(token string) {
	b.t.Helper()
	repository, err := filepath.Abs("../..")
	if err != nil {
		b.t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(repository, name) }
	_, err = b.stack.AddHost(b.t.Context(), dev.HostConfig{
		Name: "n1", Kind: dev.NodeHost, Addr: b.stack.NodeAddr(0), Overlay: b.stack.OverlayAddr(0),
		Boot: func(ctx context.Context, h *dev.Host) error {
			if err := errors.Join(h.StartOVS(ctx), h.Libvirt(ctx)); err != nil {
				return err
			}
			return h.Run(ctx, dev.Program{
				Name: "agent", Path: file("bin/huskd"), Grace: time.Minute, Timeout: time.Minute,
				Args: []string{
					"agent", "--server", "https://" + b.at(agentsPort), "--listen", netip.AddrPortFrom(h.Addr, agentPort).String(), "--node-name", h.Name,
					"--state-dir", filepath.Join(h.Dir(), "agent"), "--kernel", file("build/vmlinuz"), "--initramfs", file("build/initramfs.cpio"),
					"--ovn-southbound", b.stack.SouthboundRemote(), "--ovsdb", "unix:" + h.OVS(), "--overlay-address", h.Overlay.String(),
					"--allow-emulation", "--stop-pods-on-exit", "--memory-mib", "2048", "--scratch-gib", "100",
				},
				Env:   []string{"HUSKD_JOIN_TOKEN=" + token},
				Ready: func(context.Context) error { return nil },
			})
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// up returns an error unless Prometheus has scraped the server and the agent.
func (b *bed) up(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.at(prometheusPort)+"/api/v1/query?query=up", nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	got := map[string]any{}
	for _, r := range answer.Data.Result {
		got[r.Metric["job"]+" "+r.Metric["instance"]] = r.Value[1]
	}
	if got["husk-server server:8080"] != "1" || got["husk-agents n1"] != "1" || len(got) != 2 {
		return fmt.Errorf("Prometheus' targets are %v", got)
	}
	return nil
}

// What docs/compose.md prints, in its order.
func TestTheContainersWorkAsDocumented(t *testing.T) {
	b := newBed(t)
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b.env = []string{
		"COMPOSE_FILE=docker-compose.yml:../build.yml", "HUSKD_ALLOW_EGRESS=" + b.entry.String() + "/32", // the registry
		"XDG_CONFIG_HOME=" + filepath.Join(b.work, "login"), "PATH=" + filepath.Join(repository, "bin") + ":" + filepath.Join(repository, "build/ovn/bin") + ":" + os.Getenv("PATH"),
		"OVN_NB_DB=" + b.stack.NorthboundAdmin(),
	}
	keyring, err := os.ReadFile(b.stack.CephKeyring())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.work, "ceph.keyring"), keyring, 0o444); err != nil { // the directory is secret
		t.Fatal(err)
	}
	typed := b.readPage()

	b.startDocker()
	t.Cleanup(func() {
		if t.Failed() {
			log, err := b.shell("docker-compose ps; docker-compose logs --no-color --tail 40")
			t.Log(log, err)
		}
		if _, err := b.shell("docker-compose down --volumes --timeout 5"); err != nil {
			t.Error(err)
		}
	})
	start := typed["The server"][0]
	if released, err := filepath.Glob(filepath.Join(b.work, "source", "*.image.tar")); err != nil || len(released) > 0 {
		start = strings.Replace(start, "docker-compose build\ndocker-compose up -d\n", typed["The server"][1], 1)
		if !strings.Contains(start, "docker load") {
			t.Fatalf("the image of a release is loaded instead of (%v)\n%s", err, start)
		}
	}
	if answer := b.run(start); !strings.HasSuffix(strings.TrimSpace(answer), `{"status":"ok"}`) {
		t.Fatalf("readyz answers %q", answer)
	}

	// The databases of OVN, with the certificates of the server in the container.
	if err := os.MkdirAll(b.stack.OVNTLS(), 0o700); err != nil {
		t.Fatal(err)
	}
	b.run(typed["Networks of pods"][0])
	if err := b.stack.SecureOVN(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(b.stack.OVNTLS(), name) }
	b.run("ovn-nbctl set-ssl " + in("northbound-key.pem") + " " + in("northbound-certificate.pem") + " " + in("northbound-authority.pem"))
	b.run(fmt.Sprintf("ovn-nbctl --inactivity-probe=60000 set-connection pssl:%d:%s", northboundPort, b.entry))
	b.run(typed["Networks of pods"][1])

	// The node.
	stack.Eventually(t, time.Minute, func() error {
		_, err := b.shell("curl -sf http://" + b.at(apiPort) + "/readyz")
		return err
	})
	b.run(typed["A node"][0])
	b.run("husk node join-token --expires-in 10m -o json > ../token.json")
	var join openapi.JoinToken
	raw, err := os.ReadFile(filepath.Join(b.work, "token.json"))
	if err = errors.Join(err, json.Unmarshal(raw, &join)); err != nil {
		t.Fatal(err)
	}
	b.startNode(join.Token)
	stack.Eventually(t, time.Minute, func() error {
		nodes, err := b.shell("husk nodes --no-headers")
		if err == nil && !strings.Contains(nodes, "Ready") {
			err = fmt.Errorf("the nodes are %q", nodes)
		}
		return err
	})
	t.Log("the agent has joined")

	// A tenant and a pod.
	b.run(typed["A pod"][0])
	b.run("husk tenant api-key acme -o json > ../key.json")
	var key openapi.APIKeyWithSecret
	raw, err = os.ReadFile(filepath.Join(b.work, "key.json"))
	if err = errors.Join(err, json.Unmarshal(raw, &key)); err != nil {
		t.Fatal(err)
	}
	tenant, err := client.New("http://"+b.at(apiPort), client.WithAPIKey(key.ClientID.String(), key.ClientSecret))
	if err != nil {
		t.Fatal(err)
	}
	b.run(fmt.Sprintf("husk login http://%s --client-id %s --client-secret-stdin <<< %s", b.at(apiPort), key.ClientID, key.ClientSecret))
	cache, err := images.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	built, err := images.Build(t.Context(), cache, "busybox")
	if err != nil {
		t.Fatal(err)
	}
	refs, err := images.Push(t.Context(), b.at(registryPort), built)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(b.run("husk run --wait --name hello -m 160m " + refs["busybox"] + " -- sh -c 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.5; done'"))
	if out := b.run("husk exec hello -- cat /var/www/index.html"); out != "hello from busybox\n" {
		t.Errorf("the command in the pod wrote %q", out)
	}
	pod, err := tenant.Pods.Find(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, 2*time.Minute, func() error { return b.up(t.Context()) })
	t.Log("the pod runs, and Prometheus scrapes the server and the agent")

	// After a restart of all containers, the pod is the same, and sessions with the agent work again.
	b.run("docker-compose restart --timeout 5")
	stack.Eventually(t, time.Minute, func() error {
		now, err := tenant.Pods.Get(t.Context(), pod.ID)
		if err == nil && (now.Status.Phase != openapi.PodPhaseRunning || b.machines(pod.ID) != 1) {
			err = fmt.Errorf("the pod is %+v, and has %d machines", now.Status, b.machines(pod.ID))
		}
		if err == nil {
			_, err = b.shell("husk exec hello -- true")
		}
		return err
	})
	now, err := tenant.Pods.Get(t.Context(), pod.ID)
	if err != nil {
		t.Fatal(err)
	}
	if before, after := restarts(pod), restarts(now); before != after {
		t.Errorf("the containers of the pod were restarted %d times, and before %d times", after, before)
	}
	stack.Eventually(t, 2*time.Minute, func() error { return b.up(t.Context()) })
	t.Log("all containers were restarted, and the pod was not")
	if err := tenant.Pods.Delete(t.Context(), pod.ID); err != nil {
		t.Fatal(err)
	}
	stack.Eventually(t, time.Minute, func() error {
		if _, err := tenant.Pods.Get(t.Context(), pod.ID); !client.IsNotFound(err) {
			return fmt.Errorf("the pod still exists (%w)", err)
		}
		return nil
	})
}

func restarts(pod openapi.Pod) (n int) {
	for _, c := range pod.Status.Containers {
		n += c.Restarts
	}
	return n
}

// machines returns how many processes of a pod's machine there are.
func (b *bed) machines(pod uuid.UUID) (n int) {
	all, err := b.stack.Processes()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range all {
		if strings.HasSuffix(p.Name, "-qemu-"+pod.String()) {
			n++
		}
	}
	return n
}
