package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"husk/openapi"
	"husk/session"
	"husk/session/ws"
)

// husk prepares the command line as a user has it.
func (tn *tenant) husk(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(repository(), "bin/husk"), args...)
	cmd.Env = append(os.Environ(), "HUSK_API="+tn.env["HUSK_API"], "HUSK_CLIENT_ID="+tn.key.ClientID.String(), "HUSK_CLIENT_SECRET="+tn.key.ClientSecret)
	return cmd
}

// said is what a command did.
type said struct {
	out, errs string
	code      int
}

func (tn *tenant) run(t testing.TB, in io.Reader, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := tn.husk(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("husk %v: %v", args, err)
	} else if ok && exit.ExitCode() < 0 {
		t.Fatalf("husk %v: %v\n%s%s", args, err, out.String(), errs.String())
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// talker runs a command and reads its output as it comes.
type talker struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	text string
	done chan struct{}
}

func (k *talker) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.text += string(p)
	return len(p), nil
}

func (k *talker) said() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

func (k *talker) expect(t testing.TB, text string) {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		if now := k.said(); !strings.Contains(now, text) {
			return fmt.Errorf("it says %q, and not %q", now, text)
		}
		return nil
	})
}

func (k *talker) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-k.done:
		return k.cmd.ProcessState.ExitCode()
	case <-time.After(60 * time.Second):
		t.Fatalf("%v does not end: %s", k.cmd.Args, k.said())
		return 0
	}
}

func start(t testing.TB, cmd *exec.Cmd) *talker {
	t.Helper()
	k := &talker{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = k, k
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(k.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-k.done })
	return k
}

// token gets one as a client does that speaks HTTP itself.
func (tn *tenant) token(t testing.TB, key *openapi.APIKeyWithSecret) string {
	t.Helper()
	resp, err := http.PostForm(tn.env["HUSK_API"]+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {key.ClientID.String()}, "client_secret": {key.ClientSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token openapi.Token
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// dial opens a session over the API.
func (tn *tenant) dial(t testing.TB, token, path string, header ...string) (*ws.Conn, *ws.Answer, error) {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, said, err := ws.Dial(t.Context(), &http.Client{}, tn.env["HUSK_API"]+path, h)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, said, err
}

// hear receives until the output contains a text.
func hear(t testing.TB, conn session.Conn, text string) {
	t.Helper()
	late := time.AfterFunc(30*time.Second, func() { _ = conn.Close() })
	defer late.Stop()
	heard := ""
	for !strings.Contains(heard, text) {
		f, err := conn.Receive()
		if err != nil || f.Kind.Final() {
			t.Fatalf("after %q: %v %s; want %q", heard, err, f.Payload, text)
		}
		heard += string(f.Payload)
	}
}

// Everything that one does with a running pod, with the command line that people have.
func TestSessions(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	data := tn.volume(t, "data")
	pod := tn.order(t, "talk", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{data}
		main := shell(busybox, "httpd -p 80 -h /var/www; trap 'echo got-usr1' USR1; while :; do sleep 0.2; done")
		main.VolumeMounts = &[]openapi.VolumeMount{{Volume: "data", MountPath: "/data"}}
		side := shell(busybox, "n=0; while :; do n=$((n+1)); echo side $n; sleep 0.5; done")
		side.Name = "side"
		s.Containers = []openapi.Container{main, side}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	at := "/v1/pods/" + pod.ID.String()
	const slowBytes = 1_000_000
	slow, _, err := tn.dial(t, tn.token(t, tn.key), fmt.Sprintf("%s/exec?container=main&command=head&command=-c&command=%d&command=/dev/zero", at, slowBytes))
	if err != nil {
		t.Fatal(err)
	}

	t.Run("exec", func(t *testing.T) {
		if got := tn.run(t, nil, "exec", "talk", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 7"); got != (said{"out\n", "err\n", 7}) {
			t.Errorf("got %+v", got)
		}
		if got := tn.run(t, strings.NewReader("one\ntwo\n"), "exec", "-i", "-c", "main", "-e", "WHO=me", "-w", "/tmp", "talk", "--", "sh", "-c", "cat; echo $WHO; pwd"); got != (said{"one\ntwo\nme\n/tmp\n", "", 0}) {
			t.Errorf("got %+v", got)
		}
		for code, args := range map[int][]string{
			127: {"exec", "-c", "main", "talk", "no-such-command"},
			126: {"exec", "-c", "main", "talk", "/etc/passwd"},
			2:   {"exec", "talk", "ls"}, // which of the two containers?
			3:   {"exec", "nobody", "ls"},
		} {
			if got := tn.run(t, nil, args...); got.code != code || !strings.HasPrefix(got.errs, "husk: ") {
				t.Errorf("husk %v: %+v, want the code %d", args, got, code)
			}
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		k := start(t, tn.husk(t.Context(), "exec", "-c", "main", "talk", "--", "sh", "-c", `trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done`))
		k.expect(t, "ready")
		_ = k.cmd.Process.Signal(os.Interrupt)
		if code := k.exit(t); code != 9 || !strings.Contains(k.said(), "caught") {
			t.Errorf("exit code %d, said %q", code, k.said())
		}
	})
	t.Run("killed", func(t *testing.T) {
		k := start(t, tn.husk(t.Context(), "exec", "-c", "main", "talk", "--", "sh", "-c", `echo ready; exec sleep 98765`))
		k.expect(t, "ready")
		_ = k.cmd.Process.Kill()
		eventually(t, 20*time.Second, func() error {
			if got := tn.run(t, nil, "exec", "-c", "main", "talk", "--", "sh", "-c", "ps | grep -v grep | grep -c 98765"); strings.TrimSpace(got.out) != "0" {
				return fmt.Errorf("still there: %+v", got)
			}
			return nil
		})
	})
	t.Run("a terminal", func(t *testing.T) { terminalTalk(t, tn) })
	t.Run("files", func(t *testing.T) { copyFiles(t, tn) })
	t.Run("ports", func(t *testing.T) { forwardPorts(t, tn) })
	t.Run("top, console and attach", func(t *testing.T) {
		if got := tn.run(t, nil, "top"); got.code != 0 || !regexp.MustCompile(`(?m)^talk +main +\d+m +[0-9.]+Mi`).MatchString(got.out) {
			t.Errorf("got %+v", got)
		} else {
			t.Logf("\n%s", got.out)
		}
		stats, err := tn.api.GetPodStatsWithResponse(t.Context(), pod.ID)
		if err != nil || stats.JSON200 == nil || len(stats.JSON200.Disks) != 2 || stats.JSON200.Pod.TxBytes == 0 {
			t.Errorf("statistics: %v %s", err, stats.Body)
		}
		k := start(t, tn.husk(t.Context(), "console", "talk"))
		k.expect(t, "husk-init: up")
		_ = k.cmd.Process.Signal(os.Interrupt)
		if code := k.exit(t); code != 130 {
			t.Errorf("the console ends with %d", code)
		}
		k = start(t, tn.husk(t.Context(), "attach", "--sig-proxy=false", "-c", "side", "talk"))
		k.expect(t, "side ")
		_ = k.cmd.Process.Signal(os.Interrupt)
		k.exit(t)
	})
	t.Run("who may", func(t *testing.T) { whoMay(t, tn, pod.ID) })
	t.Run("a flood holds back who makes it", func(t *testing.T) {
		conn, _, err := tn.dial(t, tn.token(t, tn.key), at+"/exec?container=main&command=cat&command=/dev/zero")
		if err != nil {
			t.Fatal(err)
		}
		agent, server := rss(t, tn, "agent"), rss(t, tn, "server")
		hear(t, conn, "\x00")
		for range 20 { // nobody reads for a while
			time.Sleep(100 * time.Millisecond)
			if got := tn.run(t, nil, "exec", "-c", "main", "talk", "true"); got.code != 0 {
				t.Fatalf("another session suffers: %+v", got)
			}
		}
		if a, s := rss(t, tn, "agent")-agent, rss(t, tn, "server")-server; a > 32 || s > 32 {
			t.Errorf("the flood costs the agent %d MiB and the server %d", a, s)
		}
	})
	t.Run("who comes back late has missed nothing", func(t *testing.T) { // the command has ended long ago
		heard := 0
		for {
			f, err := slow.Receive()
			if err != nil {
				t.Fatalf("after %d bytes: %v", heard, err)
			}
			if f.Kind.Final() {
				if s, err := session.ParseStatus(f.Payload); f.Kind != session.Exit || err != nil || s.Code != 0 || heard != slowBytes {
					t.Errorf("after %d bytes it ends with %d %s", heard, f.Kind, f.Payload)
				}
				return
			}
			heard += len(f.Payload)
		}
	})
	t.Run("what was done is written down", func(t *testing.T) {
		audit, err := tn.api.ListAuditWithResponse(t.Context(), &openapi.ListAuditParams{Limit: new(1000)})
		if err != nil || audit.JSON200 == nil {
			t.Fatalf("audit: %v", err)
		}
		seen := map[string]bool{}
		for _, e := range audit.JSON200.Items {
			if e.ObjectID != nil && *e.ObjectID == pod.ID.String() {
				seen[e.Operation+" "+value(e.Detail)] = true
			}
		}
		for _, want := range []string{
			`execInPod container main: sh -c "echo out; echo err >&2; exit 7"`, "execInPod container main: no-such-command", "attachToPod container side: attach",
			"forwardPodPort port 80", "copyToPod container main: to /data/big", "copyFromPod container main: from /data/big",
		} {
			if !seen[want] {
				t.Errorf("the audit log does not have %q", want)
			}
		}
	})
}

// rss is what a part of the stack holds in memory, in MiB.
func rss(t testing.TB, tn *tenant, part string) int {
	t.Helper()
	pid, err := tn.pid(part)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	for line := range strings.Lines(string(raw)) {
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// terminalTalk types into husk exec -it on a terminal of the test's own.
func terminalTalk(t *testing.T, tn *tenant) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	size := func(cols, rows uint16) {
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows}); err != nil {
			t.Fatal(err)
		}
	}
	size(91, 33)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := tn.husk(t.Context(), "exec", "-it", "-c", "main", "talk", "--", "sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	k := start(t, cmd)
	slave.Close()
	go func() { _, _ = io.Copy(k, master) }()
	typed := func(text string) {
		if _, err := io.WriteString(master, text); err != nil {
			t.Fatal(err)
		}
	}
	typed("stty size\r")
	k.expect(t, "33 91")
	size(100, 40)
	eventually(t, 20*time.Second, func() error {
		typed("stty size\r")
		time.Sleep(300 * time.Millisecond)
		if !strings.Contains(k.said(), "40 100") {
			return fmt.Errorf("it says %q", k.said())
		}
		return nil
	})
	typed("echo sle''eping; sleep 1000\r")
	k.expect(t, "sleeping")
	time.Sleep(500 * time.Millisecond) // until the terminal is given to it
	typed("\x03")
	typed("echo after=$?\r")
	k.expect(t, "after=130")
	typed("exit 5\r")
	if code := k.exit(t); code != 5 {
		t.Errorf("exit code %d: %s", code, k.said())
	}
}

// copyFiles sends 100 MB into a volume and back, and trees both ways.
func copyFiles(t *testing.T, tn *tenant) {
	dir := t.TempDir()
	const size = 100_000_000
	big := filepath.Join(dir, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	source := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(io.MultiWriter(f, sum), source, size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	began := time.Now()
	if got := tn.run(t, nil, "cp", "-c", "main", big, "talk:/data/big"); got.code != 0 {
		t.Fatalf("copy in: %+v", got)
	}
	in := time.Since(began)
	want := fmt.Sprintf("%x", sum.Sum(nil))
	if got := tn.run(t, nil, "exec", "-c", "main", "talk", "--", "sha256sum", "/data/big"); !strings.HasPrefix(got.out, want+" ") {
		t.Fatalf("in the pod it is %+v, want %s", got, want)
	}
	began = time.Now()
	if got := tn.run(t, nil, "cp", "-c", "main", "talk:/data/big", filepath.Join(dir, "back")); got.code != 0 {
		t.Fatalf("copy out: %+v", got)
	}
	out := time.Since(began)
	back, err := os.ReadFile(filepath.Join(dir, "back"))
	if got := fmt.Sprintf("%x", sha256.Sum256(back)); err != nil || got != want {
		t.Errorf("%d bytes came back with the checksum %s: %v; want %s", len(back), got, err, want)
	}
	t.Logf("100 MB in %s into the pod, in %s out of it", in.Round(time.Millisecond), out.Round(time.Millisecond))

	tree := filepath.Join(dir, "tree")
	for name, mode := range map[string]os.FileMode{"a/run": 0o755, "a/b/secret": 0o600} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755)
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Symlink("a/run", filepath.Join(tree, "link"))
	if got := tn.run(t, nil, "cp", "-c", "main", tree, "talk:/tmp"); got.code != 0 {
		t.Errorf("copy a tree in: %+v", got)
	}
	if got := tn.run(t, nil, "exec", "-c", "main", "talk", "--", "sh", "-c", "ln -s /etc/passwd /tmp/tree/out; mknod /tmp/tree/pipe p; cat /tmp/tree/link; stat -c %a:%u /tmp/tree/a/b/secret"); got.out != "a/run600:0\n" {
		t.Errorf("in the pod: %+v", got)
	}
	got := tn.run(t, nil, "cp", "-c", "main", "talk:/tmp/tree", filepath.Join(dir, "again"))
	if got.code != 1 || !strings.Contains(got.errs, "pipe is left out") || !strings.Contains(got.errs, "leads elsewhere") {
		t.Errorf("copy a tree out: %+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "again/link")); err != nil || string(b) != "a/run" {
		t.Errorf("the tree came back with %q: %v", b, err)
	}
	for code, args := range map[int][]string{
		3: {"cp", "-c", "main", "talk:/absent", dir},
		5: {"cp", "-c", "main", big, "talk:/dev/shm/full"}, // half of the pod's memory is too little
		2: {"cp", filepath.Join(dir, "absent"), "talk:/tmp"},
	} {
		if got := tn.run(t, nil, args...); got.code != code {
			t.Errorf("husk %v: %+v, want the code %d", args, got, code)
		}
	}
}

func forwardPorts(t *testing.T, tn *tenant) {
	k := start(t, tn.husk(t.Context(), "port-forward", "talk", "0:80", "0:81"))
	k.expect(t, "to port 81")
	ports := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindAllString(k.said(), 2)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			resp, err := http.Get("http://" + ports[0] + "/")
			if err != nil {
				t.Errorf("through the forwarded port: %v", err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 {
				t.Errorf("through the forwarded port: %s %q %v", resp.Status, b, err)
			}
		})
	}
	all.Wait()
	conn, err := net.Dial("tcp", ports[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("a port that nobody listens on gave %d bytes", n)
	}
	k.expect(t, "nothing listens on port 81")
	_ = k.cmd.Process.Signal(os.Interrupt)
	if code := k.exit(t); code != 130 {
		t.Errorf("it ends with %d: %s", code, k.said())
	}
}

// whoMay tries sessions as those who may not, as a browser does, and as one whose key is revoked.
func whoMay(t *testing.T, tn *tenant, pod uuid.UUID) {
	keyOf := func(role openapi.Role) (*openapi.ServiceAccount, *openapi.APIKeyWithSecret) {
		account, err := tn.api.CreateServiceAccountWithResponse(t.Context(), nil, openapi.ServiceAccountCreate{Name: "sa-" + uuid.NewString()[:8], Role: role})
		if err != nil || account.JSON201 == nil {
			t.Fatalf("service account: %v %s", err, account.Body)
		}
		key, err := tn.api.CreateServiceAccountKeyWithResponse(t.Context(), account.JSON201.ID, nil, openapi.APIKeyCreate{Name: "k"})
		if err != nil || key.JSON201 == nil {
			t.Fatalf("key: %v %s", err, key.Body)
		}
		return account.JSON201, key.JSON201
	}
	refused := func(token, path string, status int, code string, header ...string) {
		t.Helper()
		conn, said, err := tn.dial(t, token, path, header...)
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s was opened", path)
			return
		}
		if said == nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		var p openapi.Problem
		if e := json.Unmarshal(said.Body, &p); e != nil || said.Status != status || p.Code != code {
			t.Errorf("%s: %d %+v %v; want %d %s", path, said.Status, p, e, status, code)
		}
	}
	at := "/v1/pods/" + pod.String()
	exec := at + "/exec?container=main&command=true"
	_, viewer := keyOf(openapi.Viewer)
	seen := tn.token(t, viewer)
	for _, path := range []string{exec, at + "/attach?container=main", at + "/port-forward?port=80", at + "/copy-out?container=main&path=/etc", at + "/copy-in?container=main&path=/etc"} {
		refused(seen, path, http.StatusForbidden, "forbidden")
		refused("", path, http.StatusUnauthorized, "unauthenticated")
	}
	if _, _, err := tn.dial(t, seen, at+"/console"); err != nil {
		t.Errorf("a viewer does not see the console: %v", err)
	}
	stranger := newTenant(t)
	other := stranger.token(t, stranger.key)
	refused(other, exec, http.StatusNotFound, "not_found")
	refused(other, strings.Replace(exec, pod.String(), uuid.NewString(), 1), http.StatusNotFound, "not_found")

	// A browser has its token among the subprotocols, and says where its page is from.
	owner := tn.token(t, tn.key)
	bearer := []string{"Sec-WebSocket-Protocol", session.Protocol + ", " + session.BearerPrefix + owner}
	browser := func(path, origin string) (*wsTalk, int, error) {
		return dialBrowser(t, tn, path, origin, bearer[1])
	}
	talk, _, err := browser(exec, tn.env["HUSK_API"])
	if err != nil {
		t.Fatalf("a browser's WebSocket: %v", err)
	}
	if f := talk.last(); f.Kind != session.Exit {
		t.Errorf("a browser's session ends with %d %s", f.Kind, f.Payload)
	}
	if talk, _, err = browser(at+"/exec?container=main&command=no-such-command", tn.env["HUSK_API"]); err != nil {
		t.Fatalf("a browser's WebSocket: %v", err)
	}
	if f := talk.last(); f.Kind != session.Problem || !strings.Contains(string(f.Payload), "command_not_found") {
		t.Errorf("a browser learns %d %s", f.Kind, f.Payload)
	}
	if _, status, err := browser(exec, "https://evil.example.com"); err == nil || status != http.StatusForbidden {
		t.Errorf("a page of another site: %d %v", status, err)
	}

	// Whose key is revoked is out, in sessions that are open too.
	account, developer := keyOf(openapi.Developer)
	conn, _, err := tn.dial(t, tn.token(t, developer), at+"/exec?container=main&command=sleep&command=1000")
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := tn.api.DeleteServiceAccountKeyWithResponse(t.Context(), account.ID, developer.ClientID); err != nil || resp.StatusCode() >= 300 {
		t.Fatalf("revoke: %v", err)
	}
	began := time.Now()
	f, err := conn.Receive()
	if err != nil || f.Kind != session.Problem || !strings.Contains(string(f.Payload), "unauthenticated") || time.Since(began) > 20*time.Second {
		t.Errorf("after %s the session of a revoked key says %d %s %v", time.Since(began), f.Kind, f.Payload, err)
	}
}

// A log that is followed has every line once, whatever part is killed meanwhile, and ends with its container.
func TestAFollowedLogLosesNothing(t *testing.T) {
	tn := newTenant(t)
	busybox := tn.importImage(t, "busybox")
	const lines = 150
	pod := tn.order(t, "count", func(s *openapi.PodSpec) {
		never := openapi.OnFailure
		s.RestartPolicy = &never
		main := shell(busybox, fmt.Sprintf("n=0; while [ $n -lt %d ]; do n=$((n+1)); echo line $n; sleep 0.2; done", lines))
		other := shell(busybox, "echo from the other; exec sleep 1000000")
		other.Name = "other"
		s.Containers = []openapi.Container{main, other}
	})
	tn.wait(t, pod.ID, openapi.PodPhaseRunning)
	k := start(t, tn.husk(t.Context(), "logs", "-f", "-c", "main", "count"))
	both := start(t, tn.husk(t.Context(), "logs", "-f", "--all-containers", "count"))
	raw, err := tn.api.GetPodLogs(t.Context(), pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Follow: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Body.Close()
	k.expect(t, "line 5\n")
	for _, part := range []string{"agent", "server", "agent"} {
		tn.kill(t, part)
		before := strings.Count(k.said(), "\n")
		eventually(t, time.Minute, func() error {
			if strings.Count(k.said(), "\n") < before+3 {
				return errNotYet
			}
			return nil
		})
	}
	if code := k.exit(t); code != 0 { // its container has ended; the pod goes on
		t.Errorf("the follower exits with %d", code)
	}
	var want strings.Builder
	for n := 1; n <= lines; n++ {
		fmt.Fprintf(&want, "line %d\n", n)
	}
	if got := strings.ReplaceAll(k.said(), "husk: ", "\nhusk: "); got != want.String() {
		t.Errorf("the follower printed\n%s", got)
	}
	both.expect(t, fmt.Sprintf("[main] line %d\n", lines))
	if got := both.said(); strings.Count(got, "[other] from the other\n") != 1 || strings.Count(got, "[main] line 77\n") != 1 {
		t.Errorf("both containers: %s", got)
	}
	if now, err := tn.get(t.Context(), pod.ID); err != nil || now.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("the pod is %s (%v)", now.Status.Phase, err)
	}
	// The API's own stream ends too.
	fresh, err := tn.api.GetPodLogs(t.Context(), pod.ID, &openapi.GetPodLogsParams{Container: new("main"), Follow: new(true)}) //nolint:bodyclose // three lines below
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Body.Close()
	ended := make(chan string, 1)
	go func() { b, _ := io.ReadAll(fresh.Body); ended <- string(b) }()
	select {
	case got := <-ended:
		if got != want.String() {
			t.Errorf("the stream is\n%s", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("a followed log stays open though its container has ended for good")
	}
	all := strings.Split(strings.TrimSpace(tn.run(t, nil, "logs", "-t", "-c", "main", "count").out), "\n")
	stamp, _, _ := strings.Cut(all[99], " ")
	if got := tn.run(t, nil, "logs", "-c", "main", "--since", stamp, "count").out; got != strings.Join(slices.Collect(untimed(all[99:])), "\n")+"\n" {
		t.Errorf("since %s: %q", stamp, got)
	}
}

func untimed(lines []string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, l := range lines {
			_, text, _ := strings.Cut(l, " ")
			if !yield(text) {
				return
			}
		}
	}
}
