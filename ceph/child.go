// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

// Argument is the only argument of a process that opens a disk with librbd, which believes the disk's
// header. A program that calls methods of Cluster for disks calls BeChild first of all.
const Argument = "open-disk"

// action is what such a process does.
type action string

const (
	toRemove       action = "remove"
	toListWatchers action = "list watchers"
	toGrow         action = "grow"
)

// task is what such a process is told: what to do, with a key that opens only what belongs to the disk. It lists watchers as the server itself.
type task struct {
	Do       action
	ConfFile string
	MonHosts []string
	Pool     string
	Name     string
	Key      Key
	Size     int64   `json:",omitempty"` // to grow to, in bytes
	Server   *Config `json:",omitempty"` // to list watchers; then the fields from ConfFile to Key are empty, except Name
}

// outcome is its answer.
type outcome struct {
	Busy     bool
	Error    string
	Watchers []Watcher
}

// The names of the keys for such processes begin with one of these, and end with the name of the disk. They are managed like keys of pods.
const (
	removalPrefix = "remove-"
	growPrefix    = "grow-"
)

// DiskOfTask returns the disk that a key for such a process is for, or false for the key of a pod.
func DiskOfTask(holder string) (disk string, ok bool) {
	for _, prefix := range []string{removalPrefix, growPrefix} {
		if disk, ok := strings.CutPrefix(holder, prefix); ok {
			return disk, true
		}
	}
	return "", false
}

// taskFor returns a task for a disk, without the key.
func (c *Cluster) taskFor(do action, disk string) task {
	return task{Do: do, ConfFile: c.cfg.ConfFile, MonHosts: c.cfg.MonHosts, Pool: c.cfg.VolumesPool, Name: disk}
}

// inChildAs does a task in a process of its own, with a key that has these rights and is removed afterwards.
func (c *Cluster) inChildAs(ctx context.Context, holder, osdCaps string, t task) error {
	key, err := c.createKey(ctx, holder, osdCaps)
	if err != nil {
		return err
	}
	t.Key = key
	_, err = inChild(ctx, t)
	return errors.Join(err, c.RemoveKey(context.WithoutCancel(ctx), holder))
}

func inChild(ctx context.Context, r task) (outcome, error) {
	var answer outcome
	request, err := json.Marshal(r)
	if err != nil {
		return answer, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Argument)
	var out, stderr head
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is sent when the thread that started the child ends
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return answer, fmt.Errorf("the process that opens %s failed: %w: %.1000s", r.Name, errors.Join(err, ctx.Err()), stderr)
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return answer, fmt.Errorf("the process that opens %s gave an unexpected answer: %w", r.Name, err)
	}
	switch {
	case answer.Busy:
		return answer, &BusyError{Name: r.Name}
	case answer.Error != "":
		return answer, fmt.Errorf("disk %s: %s", r.Name, answer.Error)
	}
	return answer, nil
}

// head keeps the first part of what is written to it.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	const most = 4096
	*h = append(*h, p[:min(len(p), most-len(*h))]...)
	return len(p), nil
}

// BeChild opens a disk and ends the process, if the process was started for that by RemoveDisk or
// Watchers. Otherwise, it does nothing.
func BeChild() {
	if len(os.Args) != 2 || os.Args[1] != Argument {
		return
	}
	var answer outcome
	switch err := asChild(&answer); {
	case hasErrno(err, ebusy) || hasErrno(err, enotempty):
		answer.Busy = true
	case err != nil && !notFound(err):
		answer.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

func asChild(answer *outcome) error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	if t.Do == toListWatchers {
		c, err := Connect(context.Background(), *t.Server)
		if err == nil {
			answer.Watchers, err = watchersOf(c.volumes, t.Name)
		}
		return err
	}
	conn, err := rados.NewConnWithUser(t.Key.User)
	if err != nil {
		return err
	}
	if t.ConfFile != "" {
		if err := conn.ReadConfigFile(t.ConfFile); err != nil {
			return err
		}
	}
	options := append(timeouts(), [2]string{"key", t.Key.Secret},
		[2]string{"rbd_blocklist_on_break_lock", "false"}) // its key may not, and no client that has lost the lock writes any more
	if len(t.MonHosts) > 0 {
		options = append(options, [2]string{"mon_host", strings.Join(t.MonHosts, ",")})
	}
	for _, o := range options {
		if err := conn.SetConfigOption(o[0], o[1]); err != nil {
			return fmt.Errorf("ceph option %s: %w", o[0], err)
		}
	}
	if err := conn.Connect(); err != nil {
		return err
	}
	io, err := conn.OpenIOContext(t.Pool)
	if err != nil {
		return err
	}
	switch t.Do {
	case toRemove:
		return rbd.RemoveImage(io, t.Name)
	case toGrow:
		return growImage(io, t.Name, t.Size)
	default:
		return fmt.Errorf("unknown action %q", t.Do)
	}
}
