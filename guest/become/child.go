// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package become turns a process that husk-init has forked into the process of a container, or into a
// command in a running container. A container's process builds its root file system inside fresh
// namespaces (child.go, rootfs.go, system.go) and gives up what a container does not get (user.go).
// Everything that the pod's author chose is used only after that, when no path leads out of the
// container. Of this module, the package imports only guest and guest/seccomp.
package become

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// ContainerName is argv[0] of husk-init before it becomes a container.
const ContainerName = "husk-container"

// Descriptors that are open in the child in addition to the standard ones.
const (
	configFD  = 3
	failureFD = 4
	// terminalFD is where a container with a terminal sends the other end of that terminal.
	terminalFD = 5
)

// Resource limits of containers; root may raise the soft limit.
const (
	softFiles = 65536
	hardFiles = 1 << 20
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Where husk-init keeps the pod's files. These directories are visible until the root has changed.
const (
	StateDir   = "/run/husk"
	VolumesDir = StateDir + "/volumes" // a file system per volume
	ShmDir     = StateDir + "/shm"     // the shared memory of all containers
	RootDir    = StateDir + "/root"    // a container's root, in its own mount namespace
)

// FSMount is a file system to mount.
type FSMount struct {
	Source, Target, Kind string
	Flags                uintptr
	Data                 string
}

// NoExec are the flags of a file system without programs and devices.
const NoExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// Config is the configuration that PID 1 passes to the child.
type Config struct {
	Container guest.Container
	Etc       []guest.File
	Hostname  string
	Image     string            // where the image is mounted
	Scratch   string            // directory for the container's writable layer
	Writable  map[string]bool   // volumes that are writable
	Kept      map[string]bool   // those of them that outlive the machine, which the image fills if they are fresh
	Devices   map[string]string // names in the guest's /dev of the volumes without a file system
	FSGroup   *uint32           // owns the volumes; nil: nobody but the users who write to them
	Message   string            // the file for the termination message; "": none
}

// Container becomes the container that PID 1 describes. It runs in new mount, PID and UTS
// namespaces. It returns only by exec, or by exiting after it has reported the error.
func Container() { runAs(become) }

// runAs runs f in a process that will execute another program.
func runAs(f func() error) {
	// Namespaces, capabilities and exec belong to a thread.
	runtime.LockOSThread()
	unix.CloseOnExec(configFD)
	unix.CloseOnExec(failureFD)
	err := f()
	var start *StartError
	if !errors.As(err, &start) {
		start = &StartError{Code: 126, Message: err.Error()}
	}
	if report, err := json.Marshal(start); err == nil {
		unix.Write(failureFD, report)
	}
	os.Exit(start.Code)
}

func become() error {
	b, err := io.ReadAll(os.NewFile(configFD, "config"))
	if err != nil {
		return err
	}
	var config Config
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	unix.Umask(0o022)
	// Before the root changes, because the container's files can be anything.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0); err != nil {
		return err
	}
	if err := buildRoot(&config); err != nil {
		return err
	}
	// As runc does. If this fails, changing to the directory fails too, and says why.
	os.MkdirAll(workingDir(&config.Container), 0o755)
	if config.Container.TTY {
		if err := takeTerminal(); err != nil {
			return err
		}
	}
	return becomeProcess(&config)
}

func limitFiles() error {
	limit := syscall.Rlimit{Cur: softFiles, Max: hardFiles}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	return nil
}

func workingDir(c *guest.Container) string {
	if c.WorkingDir == "" {
		return "/"
	}
	return c.WorkingDir
}

// environment returns env with only the last value of each name, and with the variables that every
// container can expect.
func environment(env []string, hostname, home string) []string {
	all := append([]string{defaultPath, "HOSTNAME=" + hostname, "HOME=" + home}, env...)
	at := map[string]int{}
	var out []string
	for _, e := range all {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			out[i] = e
			continue
		}
		at[name] = len(out)
		out = append(out, e)
	}
	return out
}

// execute looks up the command as the container's user would, and executes it.
func execute(args, env []string) error {
	path, err := lookPath(args[0], env)
	if err != nil {
		return err
	}
	return execError(args[0], syscall.Exec(path, args, env))
}

// execError says why a command could not be executed.
func execError(command string, err error) *StartError {
	code := 126
	if errors.Is(err, unix.ENOENT) {
		code, err = 127, errors.New("no such file, or its interpreter is missing")
	}
	return &StartError{code, fmt.Sprintf("exec: %q: %v", command, err)}
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
			return "", &StartError{127, fmt.Sprintf("exec: %q: no such file", name)}
		}
		return name, nil
	}
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") })
	var denied error
	for _, dir := range filepath.SplitList(strings.TrimPrefix(env[i], "PATH=")) {
		path := filepath.Join("/", dir, name)
		if !filepath.IsAbs(dir) {
			path = "./" + filepath.Join(dir, name)
		}
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if err := unix.Access(path, unix.X_OK); err != nil {
			denied = &StartError{126, fmt.Sprintf("exec: %q: %v", name, err)}
			continue
		}
		return path, nil
	}
	if denied != nil {
		return "", denied
	}
	return "", &StartError{127, fmt.Sprintf("exec: %q: not found in PATH", name)}
}

// StartError is why a container's command did not run.
type StartError struct {
	Code    int    `json:"code"` // as a shell would exit: 127 not found, 126 otherwise
	Message string `json:"message"`
}

func (e *StartError) Error() string { return e.Message }
