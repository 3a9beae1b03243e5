// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/session"
)

// actOutput is how much of the output of a failed command is in the reason, in bytes.
const actOutput = 512

func (l *linux) act(ctx context.Context, c guest.Container, in process, network *guest.Network, a guest.Action) error {
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if network != nil {
		host = network.Address.Addr()
	}
	switch {
	case len(a.Exec) > 0:
		k, ok := in.(*child)
		if !ok {
			return errors.New("not a container of this machine")
		}
		return l.command(ctx, k, c, a.Exec)
	case a.HTTPGet != nil, a.GRPC != nil:
		return l.ask(ctx, host.String(), a)
	case a.TCPPort != 0:
		return accepts(ctx, host, a.TCPPort)
	default:
		return sleep(ctx, time.Duration(a.SleepSeconds)*time.Second)
	}
}

// accepts checks that a port accepts connections.
func accepts(ctx context.Context, host netip.Addr, port int) error {
	if !host.Is4() {
		return errors.New("the pod has no IPv4 address")
	}
	wait := connectWait
	if end, ok := ctx.Deadline(); ok {
		wait = time.Until(end)
	}
	fd, err := connect(&unix.SockaddrInet4{Port: port, Addr: host.As4()}, wait)
	if errors.Is(err, unix.ETIMEDOUT) {
		return errors.New("no answer in time")
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

const (
	// probeProgram asks services by HTTP and gRPC; see package probe.
	probeProgram = "/husk-probe"
	nobody       = 65534 // the user and the group of the program
)

// ask runs the program that asks services, outside of the containers.
func (l *linux) ask(ctx context.Context, host string, a guest.Action) error {
	request, err := json.Marshal(map[string]any{"Host": host, "Action": a})
	if err != nil {
		return err
	}
	in, err := memoryFile(request)
	if err != nil {
		return err
	}
	defer in.Close()
	out, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	pid, died, err := l.reap.start(func() (int, error) {
		defer w.Close()
		return syscall.ForkExec(probeProgram, []string{probeProgram}, &syscall.ProcAttr{
			Dir: "/", Env: []string{"GOMAXPROCS=1"}, Files: []uintptr{in.Fd(), w.Fd(), w.Fd()},
			Sys: &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
		})
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", probeProgram, err)
	}
	stop := context.AfterFunc(ctx, func() { l.reap.signal(pid, unix.SIGKILL) })
	answer, _ := io.ReadAll(io.LimitReader(out, actOutput))
	out.Close() // it writes no more than this
	ws := <-died
	if !stop() {
		return errors.New("no answer in time")
	}
	if ws.ExitStatus() != 0 {
		return errors.New(strings.TrimSpace(string(answer)))
	}
	return nil
}

// asks reports whether the pod needs the program.
func asks(spec guest.Spec) bool {
	for _, c := range spec.Containers {
		var actions []guest.Action
		for _, p := range []*guest.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if p != nil {
				actions = append(actions, p.Action)
			}
		}
		for _, h := range []*guest.Hook{c.PostStart, c.PreStop} {
			if h != nil {
				actions = append(actions, h.Action)
			}
		}
		if slices.ContainsFunc(actions, func(a guest.Action) bool { return a.HTTPGet != nil || a.GRPC != nil }) {
			return true
		}
	}
	return false
}

// sleep returns an error if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// command runs a command in a container. It returns an error unless the command exits with 0 before
// ctx ends.
func (l *linux) command(ctx context.Context, k *child, c guest.Container, args []string) error {
	j, err := l.startJob(k, c, guest.Exec{Args: args})
	if err != nil {
		return err
	}
	defer j.close()
	read := make(chan string, len(j.output))
	for _, f := range j.output {
		go func() { read <- j.beginning(f) }()
	}
	var ws unix.WaitStatus
	select {
	case ws = <-j.died:
	case <-ctx.Done():
		j.group.kill()
		ws = <-j.died
		err = errors.New("the command did not end in time")
	}
	j.ended.Store(true)
	j.group.kill() // what it has started in the background
	var output strings.Builder
	for _, f := range j.output {
		f.SetReadDeadline(time.Now().Add(outputPause)) // wakes readers that wait for more
	}
	for range j.output {
		output.WriteString(<-read)
	}
	switch text := strings.TrimSpace(output.String()); {
	case err != nil || ws.ExitStatus() == 0:
		return err
	case text != "":
		return fmt.Errorf("exit code %d: %s", exitCode(ws), text)
	default:
		return fmt.Errorf("exit code %d", exitCode(ws))
	}
}

func exitCode(ws unix.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// beginning returns the beginning of a command's output and discards the rest.
func (j *job) beginning(f *os.File) string {
	var kept strings.Builder
	buf := make([]byte, session.Chunk)
	for {
		if j.ended.Load() {
			f.SetReadDeadline(time.Now().Add(outputPause))
		}
		n, err := f.Read(buf)
		kept.Write(buf[:min(n, max(0, actOutput-kept.Len()))])
		if errors.Is(err, os.ErrDeadlineExceeded) && !j.ended.Load() {
			continue
		}
		if err != nil && !errors.Is(err, io.ErrNoProgress) {
			return kept.String()
		}
	}
}
