// SPDX-License-Identifier: Apache-2.0

package ceph

import (
	"bytes"
	"context"
	"encoding/binary"
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
// header. A program that calls RemoveDisk or Watchers calls BeChild first of all.
const Argument = "open-disk"

// task is what such a process is told: to remove the disk with a key that opens only what belongs to
// it, or to list its watchers as the server itself.
type task struct {
	ConfFile string
	MonHosts []string
	Pool     string
	Name     string
	Key      Key
	Watchers *Config // the server's; then the other fields except Name are empty
}

// outcome is its answer.
type outcome struct {
	Busy     bool
	Error    string
	Watchers []Watcher
}

// RemoveDisk removes a clone or volume, if there is one. It returns *BusyError while a client has
// it open. A client that crashed without closing it counts for up to 30 seconds.
//
// The header of a disk is written by hostile pods, and librbd believes it: which objects are the
// disk's data, what its parent is, how large it is. So the
// header is restored first. Then a process of its own removes the disk, with a key that can do
// nothing else. If librbd crashes or hangs, only this process does.
func (c *Cluster) RemoveDisk(ctx context.Context, d Disk) error {
	if err := checkName("disk", d.Name); err != nil {
		return err
	}
	id, err := c.diskID(d.Name)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("disk %s: %w", d.Name, err)
	}
	if d.ID != "" && d.ID != id {
		d.Header = nil // the header of an earlier attempt to create the disk
	}
	if _, err := c.restoreHeader(id, d.Header); err != nil && !notFound(err) {
		return err
	}
	caps, err := c.removalCaps(d, id)
	if err != nil {
		return err
	}
	holder := removalPrefix + d.Name
	key, err := c.createKey(ctx, holder, caps)
	if err != nil {
		return err
	}
	_, err = inChild(ctx, task{ConfFile: c.cfg.ConfFile, MonHosts: c.cfg.MonHosts, Pool: c.cfg.VolumesPool, Name: d.Name, Key: key})
	return errors.Join(err, c.RemoveKey(context.WithoutCancel(ctx), holder))
}

// removalPrefix begins the names of the keys for removals. They are managed like keys of pods.
const removalPrefix = "remove-"

// RemovalOf returns the disk that a key is for the removal of, or false for the key of a pod.
func RemovalOf(holder string) (disk string, ok bool) {
	return strings.CutPrefix(holder, removalPrefix)
}

// removalCaps give access to everything that belongs to one disk, to the directory of the pool, and to the header of the import that the
// disk is a clone of, where RBD keeps the list of clones. For a disk without an owner, that may be any import.
func (c *Cluster) removalCaps(d Disk, id string) (string, error) {
	parent := "rbd_header."
	if d.Digest != "" {
		importID, err := c.importID(d.Digest)
		if err != nil && !notFound(err) {
			return "", err
		}
		parent += importID
	}
	var caps []string
	for _, prefix := range []string{
		"rbd_id." + d.Name, headerObject(id), "rbd_data." + id + ".", "rbd_object_map." + id, "journal." + id, "rbd_directory", "rbd_children", "rbd_info", "rbd_trash", "rbd_mirroring",
	} {
		caps = append(caps, fmt.Sprintf("allow rwx pool=%s namespace=\"\" object_prefix %s", c.cfg.VolumesPool, prefix))
	}
	for _, prefix := range []string{parent, "rbd_directory", "rbd_info"} {
		caps = append(caps, fmt.Sprintf("allow rwx pool=%s namespace=\"\" object_prefix %s", c.cfg.ImagesPool, prefix))
	}
	return strings.Join(caps, ", "), nil
}

// diskID returns RBD's ID of a disk from an object that no pod can write.
func (c *Cluster) diskID(name string) (string, error) {
	const most = 128
	raw := make([]byte, most)
	n, err := c.volumes.Read("rbd_id."+name, raw, 0)
	if err != nil {
		return "", err
	}
	if n < 4 || int(binary.LittleEndian.Uint32(raw)) != n-4 {
		return "", fmt.Errorf("the object rbd_id.%s has %d bytes of unexpected content", name, n)
	}
	return string(raw[4:n]), nil
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
	var r task
	if err := json.NewDecoder(os.Stdin).Decode(&r); err != nil {
		return err
	}
	if r.Watchers != nil {
		c, err := Connect(context.Background(), *r.Watchers)
		if err == nil {
			answer.Watchers, err = watchersOf(c.volumes, r.Name)
		}
		return err
	}
	conn, err := rados.NewConnWithUser(r.Key.User)
	if err != nil {
		return err
	}
	if r.ConfFile != "" {
		if err := conn.ReadConfigFile(r.ConfFile); err != nil {
			return err
		}
	}
	options := append(timeouts(), [2]string{"key", r.Key.Secret},
		[2]string{"rbd_blocklist_on_break_lock", "false"}) // its key may not, and nobody needs the data any more
	if len(r.MonHosts) > 0 {
		options = append(options, [2]string{"mon_host", strings.Join(r.MonHosts, ",")})
	}
	for _, o := range options {
		if err := conn.SetConfigOption(o[0], o[1]); err != nil {
			return fmt.Errorf("ceph option %s: %w", o[0], err)
		}
	}
	if err := conn.Connect(); err != nil {
		return err
	}
	io, err := conn.OpenIOContext(r.Pool)
	if err != nil {
		return err
	}
	return rbd.RemoveImage(io, r.Name)
}
