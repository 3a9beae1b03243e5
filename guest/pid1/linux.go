// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/guest/become"
	"husk/guest/disks"
	"husk/guest/files"
	"husk/guest/fill"
	"husk/guest/hotplug"
	"husk/guest/logring"
	"husk/guest/scratch"
)

// outputWait is how long a container's output may stay open after its last process has ended. That
// only happens if the pipe was passed to another container.
const outputWait = 2 * time.Second

// agentHold is how long a container whose log is full waits for an agent to come back. The agent of a
// node that is being upgraded is away for some seconds.
const agentHold = time.Minute

// linux is the real machine.
type linux struct {
	reap    *reaper
	modules chan struct{} // closed when the late modules are loaded

	mu      sync.Mutex
	spec    guest.Spec
	volumes []disks.Volume
	frozen  disks.Frozen
	runs    int
}

func (l *linux) prepare(ctx context.Context, spec guest.Spec) error {
	select {
	case <-l.modules:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spec = spec
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("hostname %s: %w", spec.Hostname, err)
	}
	if !asks(spec) {
		os.Remove(probeProgram) // it uses the pod's memory
	}
	if err := setUpNetwork(ctx, spec.Network); err != nil {
		return err
	}
	if err := setSysctls(spec.Sysctls); err != nil {
		return err
	}
	dev := ""
	if spec.ScratchSerial != "" {
		loadModules(volumeModules)
		var err error
		if dev, err = disks.Find(ctx, spec.ScratchSerial); err != nil {
			return fmt.Errorf("scratch space: %w", err)
		}
	}
	disk, err := scratch.Mount(dev, scratchDir)
	if err != nil {
		return fmt.Errorf("scratch space: %w", err)
	}
	if err := mountShm(spec.ShmSizeMiB); err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	mounted := map[string]bool{}
	for _, c := range spec.Containers {
		if mounted[c.ImageSerial] {
			continue
		}
		mounted[c.ImageSerial] = true
		if err := disks.MountImage(ctx, c.ImageSerial, filepath.Join(imagesDir, c.ImageSerial)); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(spec.Volumes, func(v guest.Volume) bool { return v.FSType == guest.XFSType }) {
		dropModules(xfsModules)
	}
	if !slices.ContainsFunc(spec.Volumes, func(v guest.Volume) bool { return v.ReadOnly }) {
		dropModules(coverModules)
	}
	for _, v := range spec.Volumes {
		if v.FSType == guest.FilesType {
			if err := files.Mount(filepath.Join(become.VolumesDir, v.Name), v); err != nil {
				return err
			}
			continue
		}
		if v.FSType == guest.EmptyType {
			if err := makeEmpty(v, spec.FSGroup, disk); err != nil {
				return err
			}
			continue
		}
		switch v.FSType {
		case guest.XFSType:
			loadModules(xfsModules)
		case guest.BlockType:
			d, err := disks.Open(ctx, v, spec.FSGroup)
			if err != nil {
				return err
			}
			l.volumes = append(l.volumes, d)
			continue
		default:
			loadModules(volumeModules)
		}
		m, err := disks.Mount(ctx, v, disks.Covers{Dir: scratchDir, Load: func() { loadModules(coverModules) }})
		if err != nil {
			return err
		}
		if spec.FSGroup != nil && !v.ReadOnly {
			if err := fill.Group(filepath.Join(become.VolumesDir, v.Name), int(*spec.FSGroup)); err != nil {
				return fmt.Errorf("volume %s: give it to group %d: %w", v.Name, *spec.FSGroup, err)
			}
		}
		l.volumes = append(l.volumes, m)
	}
	return nil
}

func (l *linux) update(volume string, now []guest.File) error {
	return files.Replace(filepath.Join(become.VolumesDir, volume), now)
}

func (l *linux) launch(c guest.Container, io *stdio) (process, *become.StartError) {
	p, err := l.fork(c, io)
	if start, ok := errors.AsType[*become.StartError](err); ok {
		return nil, start
	}
	if err != nil {
		return nil, &become.StartError{Code: 126, Message: err.Error()}
	}
	return p, nil
}

// child is a running container.
type child struct {
	pid     int
	entry   sync.RWMutex // protects pidFD, so that nothing enters a different process that reuses the descriptor
	pidFD   int          // -1: not started, or ended
	died    <-chan unix.WaitStatus
	group   cgroup
	scratch string
	message *message // nil: none
	stdio   *stdio
	input   runIO
	slave   *os.File // of a terminal, kept open; nil without one
	outputs []*os.File
	over    atomic.Bool // no process is left
	copying *sync.WaitGroup
}

// fork starts a container and returns once its command runs or has failed to start.
func (l *linux) fork(c guest.Container, streams *stdio) (_ *child, err error) {
	l.mu.Lock()
	l.runs++
	run := c.Name + "." + strconv.Itoa(l.runs)
	spec, writable, kept, devices := l.spec, map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, v := range l.volumes {
		devices[v.Name] = v.Device()
	}
	l.mu.Unlock()
	for _, v := range spec.Volumes {
		writable[v.Name] = !v.ReadOnly && v.FSType != guest.FilesType
		kept[v.Name] = writable[v.Name] && v.FSType != guest.EmptyType
	}
	if c.TTY {
		c.Env = append([]string{"TERM=xterm"}, c.Env...)
	}
	// Every run begins with the unchanged image.
	config := become.Config{
		Container: c, Etc: etcFiles(spec), Hostname: spec.Hostname,
		Image: filepath.Join(imagesDir, c.ImageSerial), Scratch: filepath.Join(scratchDir, run), Writable: writable, Kept: kept, Devices: devices, FSGroup: spec.FSGroup,
	}
	k := &child{pidFD: -1, scratch: config.Scratch, stdio: streams, copying: new(sync.WaitGroup)}
	defer func() {
		if err != nil {
			k.cleanUp()
		}
	}()
	if k.group, err = newCgroup(run); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	if err := k.group.limit(c.Limits); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	if c.TerminationMessagePath != "" {
		if k.message, err = newMessage(run); err != nil {
			return nil, err
		}
		config.Message = k.message.file.Name()
	}
	failure, err := l.clone(k, config)
	if err != nil {
		return nil, err
	}
	defer failure.Close()
	// The pipe closes without data if exec succeeds.
	report, err := io.ReadAll(io.LimitReader(failure, 64<<10))
	if err == nil && len(report) == 0 {
		streams.begin(&k.input)
		return k, nil
	}
	<-k.died
	k.drain()
	if err == nil {
		start := new(become.StartError)
		if err = json.Unmarshal(report, start); err == nil {
			err = start
		}
	}
	return nil, err
}

// clone starts the child in its namespaces and returns the pipe on which it reports errors.
func (l *linux) clone(k *child, config become.Config) (_ *os.File, err error) {
	var theirs []*os.File // in the child's order: standard streams, configuration, failure, terminal
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	if theirs, err = k.streams(config.Container); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	memory, err := memoryFile(encoded)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, memory)
	failure, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, w)
	defer func() {
		if err != nil {
			failure.Close()
		}
	}()
	var terminal *os.File
	if config.Container.TTY {
		ours, their, err := socketPair()
		if err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
		defer ours.Close()
		terminal, theirs = ours, append(theirs, their)
	}
	group, err := k.group.open()
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	defer unix.Close(group)
	attr := &syscall.ProcAttr{
		Env: []string{},
		Sys: &syscall.SysProcAttr{
			Setsid: true,
			// The containers share the machine's IPC namespace, in which husk-init has nothing.
			Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
			UseCgroupFD: true, CgroupFD: group, PidFD: &k.pidFD,
		},
	}
	for _, f := range theirs {
		attr.Files = append(attr.Files, f.Fd())
	}
	k.pid, k.died, err = l.reap.start(func() (int, error) {
		return syscall.ForkExec("/proc/self/exe", []string{become.ContainerName}, attr)
	})
	if err != nil {
		return nil, fmt.Errorf("start container: %w", err)
	}
	for i, stream := range []string{guest.Stdout, guest.Stderr}[:len(k.outputs)] {
		k.copyOutput(stream, k.outputs[i], false)
	}
	if terminal != nil {
		theirs[len(theirs)-1].Close() // so that only the child holds its end
		if err := k.useTerminal(terminal, config.Container.Stdin); err != nil {
			k.group.kill()
			<-k.died
			return nil, fmt.Errorf("terminal: %w", err)
		}
	}
	return failure, nil
}

// streams makes the standard streams of a child, and returns the child's ends.
func (k *child) streams(c guest.Container) (theirs []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range theirs {
				f.Close()
			}
		}
	}()
	var in *os.File
	if c.Stdin && !c.TTY {
		in, k.input.input, err = os.Pipe()
	} else {
		in, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	theirs = []*os.File{in}
	for range 2 {
		if c.TTY { // it will have a terminal instead
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return theirs, err
			}
			theirs = append(theirs, null)
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		k.outputs, theirs = append(k.outputs, r), append(theirs, w)
	}
	return theirs, nil
}

// useTerminal takes over the terminal that a child makes for itself.
func (k *child) useTerminal(from *os.File, stdin bool) error {
	master, slave, err := become.ReceiveTerminal(from)
	if err != nil || master == nil {
		return err
	}
	k.input.tty, k.slave = master, slave
	if stdin {
		k.input.input = master
	}
	k.outputs = append(k.outputs, master)
	k.copyOutput(guest.Stdout, master, true)
	return nil
}

func (k *child) copyOutput(stream string, f *os.File, terminal bool) {
	k.copying.Go(func() {
		logring.Copy(k.stdio.log, stream, &output{k: k, f: f, to: k.stdio, name: stream}, terminal, k.logHold)
	})
}

// logHold is how long the container waits for an agent that is not there to read its log.
func (k *child) logHold() time.Duration {
	if k.over.Load() {
		return outputWait
	}
	return agentHold
}

// socketPair returns a pair of sockets for passing descriptors.
func socketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

func memoryFile(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("container", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "container")
	if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// signal does not use the number of the process, which another one may have after it has ended.
func (k *child) signal(sig int) {
	k.entry.RLock()
	defer k.entry.RUnlock()
	if k.pidFD >= 0 {
		unix.PidfdSendSignal(k.pidFD, unix.Signal(sig), nil, 0)
	}
}

func (k *child) kill() { k.group.kill() }

func (k *child) wait() exit {
	ws := <-k.died
	k.group.kill() // the kernel has already done so with the PID namespace
	k.stdio.end(&k.input)
	k.drain()
	e := exit{code: ws.ExitStatus()}
	if ws.Signaled() {
		e.signal = int(ws.Signal())
		e.code = 128 + e.signal
	}
	// A shell reports a killed child with the same number.
	e.oomKilled = e.code == 128+int(unix.SIGKILL) && k.group.oomKills() > 0
	e.message = k.message.text()
	k.cleanUp()
	return e
}

// drain waits for the container's output to end. A slow attached client does not cause any loss.
func (k *child) drain() {
	k.over.Store(true)
	if k.slave != nil {
		k.slave.Close()
	}
	for _, f := range k.outputs {
		f.SetReadDeadline(time.Now().Add(outputWait)) // wakes readers that wait for more
	}
	k.copying.Wait()
}

func (k *child) cleanUp() {
	k.input.endInput()
	for _, f := range k.outputs {
		f.Close()
	}
	if k.group.dir != "" {
		k.group.remove()
	}
	k.entry.Lock()
	if k.pidFD >= 0 {
		unix.Close(k.pidFD)
		k.pidFD = -1
	}
	k.entry.Unlock()
	k.message.remove()
	os.RemoveAll(k.scratch)
}

func (l *linux) grow(ctx context.Context, serial string, size int64) error {
	v, err := l.volume(serial)
	if err != nil {
		return err
	}
	return v.Grow(ctx, size)
}

func (l *linux) resize(ctx context.Context, cpus int) error {
	if err := hotplug.Memory(); err != nil {
		return err
	}
	loadModules(resizeModules)
	return hotplug.CPUs(ctx, cpus)
}

func (l *linux) adjustClock(by time.Duration) error {
	now := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
}

func (l *linux) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var failed []error // the scratch disk ends with the machine, so its data is not written back
	for _, v := range l.volumes {
		_ = l.frozen.Thaw(v) // fails if it is not frozen
		if err := v.Unmount(); err != nil {
			failed = append(failed, err)
		}
	}
	l.volumes = nil
	return errors.Join(failed...)
}

func (l *linux) powerOff() {
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	panic(fmt.Sprintf("husk-init: power off: %v", err))
}
