// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/client"
	"husk/openapi"
)

func TestExecSendsItsInput(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	s, err := c.Pods.Exec(t.Context(), pod(t, c, "stay"), client.ExecOptions{Command: []string{"repeat"}, Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	want := strings.Repeat("0123456789", 20_000)
	if err := s.Stream(t.Context(), client.Streams{In: strings.NewReader(want), Out: &out}); err != nil || out.String() != want {
		t.Errorf("%d bytes of %d, %v", out.Len(), len(want), err)
	}
}

func TestExecForwardsASignal(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	s, err := c.Pods.Exec(t.Context(), pod(t, c, "stay"), client.ExecOptions{Command: []string{"stay"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Signal("INT"); err != nil {
		t.Fatal(err)
	}
	err = s.Stream(t.Context(), client.Streams{})
	if e, ok := errors.AsType[*client.ExitError](err); !ok || e.Code != 130 || e.Signal != 2 {
		t.Errorf("%v", err)
	}
}

func TestAttachedClientCanDetach(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	create := newPod("shell", "repeat", "welcome")
	create.Spec.Containers[0].Stdin = new(true)
	created, err := c.Pods.Create(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pods.Wait(t.Context(), created.ID, func(p openapi.Pod) (bool, error) { return p.Status.Phase == openapi.PodPhaseRunning, nil }); err != nil {
		t.Fatal(err)
	}
	s, err := c.Pods.Attach(t.Context(), created.ID, client.AttachOptions{Stdin: true, Backlog: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stream(t.Context(), client.Streams{In: detach{}}); !errors.Is(err, client.ErrDetached) {
		t.Errorf("%v", err)
	}
	if p, err := c.Pods.Get(t.Context(), created.ID); err != nil || p.Status.Phase != openapi.PodPhaseRunning {
		t.Errorf("%s, %v", p.Status.Phase, err)
	}
	if s, err = c.Pods.Attach(t.Context(), created.ID, client.AttachOptions{Stdin: true}); err != nil {
		t.Fatal(err)
	}
	err = s.Stream(t.Context(), client.Streams{In: strings.NewReader("bye\n")})
	if e, ok := errors.AsType[*client.ExitError](err); !ok || e.Code != 9 {
		t.Errorf("%v", err)
	}
}

// detach is an input that detaches immediately.
type detach struct{}

func (detach) Read([]byte) (int, error) { return 0, client.ErrDetached }

func TestCancelledSessionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	s, err := c.Pods.Exec(t.Context(), pod(t, c, "stay"), client.ExecOptions{Command: []string{"stay"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := s.Stream(ctx, client.Streams{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestForwardedConnectionIsHalfClosed(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	id := pod(t, c, "stay")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	forwarded := make(chan error, 1)
	go func() {
		local, err := l.Accept()
		if err == nil {
			err = c.Pods.Forward(t.Context(), id, 7, local)
		}
		forwarded <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if reply, err := io.ReadAll(conn); string(reply) != "hello" || err != nil {
		t.Errorf("%q, %v", reply, err)
	}
	if err := <-forwarded; err != nil {
		t.Error(err)
	}
}

// The server on port 2 ends only its own stream, as one that waits for the client's last bytes does.
func TestADialledPortHasAnEndAndCanBeClosed(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	id := pod(t, c, "stay")
	for range 300 { // more than a tenant may have open
		conn, err := c.Pods.DialPort(t.Context(), id, 2)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); string(got) != "greeting" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %d, %v", n, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestClosedPortIsAnError(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	near, far := net.Pipe()
	defer far.Close()
	if err := c.Pods.Forward(t.Context(), pod(t, c, "stay"), 1, near); !client.HasCode(err, husk.CodeConflict) {
		t.Errorf("%v", err)
	}
}

func TestCopyOfAMissingFileIsAnError(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	id := pod(t, c, "stay")
	dir := t.TempDir()
	if err := c.Pods.Download(t.Context(), id, client.CopyOptions{Path: "/nothing"}, filepath.Join(dir, "copy")); !client.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	if err := c.Pods.Upload(t.Context(), id, filepath.Join(dir, "nothing"), client.CopyOptions{Path: "/"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestDirectoryIsCopiedInAndOut(t *testing.T) {
	t.Parallel()
	c := tenant(t)
	id := pod(t, c, "stay")
	from := filepath.Join(t.TempDir(), "site")
	if err := os.MkdirAll(filepath.Join(from, "css"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("x", 100_000)
	if err := os.WriteFile(filepath.Join(from, "css", "main.css"), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Pods.Upload(t.Context(), id, from, client.CopyOptions{Path: "/srv"}); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	var messages []string
	if err := c.Pods.Download(t.Context(), id, client.CopyOptions{Path: "/srv/site", Warn: func(m string) { messages = append(messages, m) }}, to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, "site", "css", "main.css"))
	if err != nil || string(got) != want {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if diff := cmp.Diff([]string{"a message of the container"}, messages); diff != "" {
		t.Error(diff)
	}
}
