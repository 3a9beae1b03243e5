// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// ExecName is argv[0] of husk-init before it becomes a command in a running container.
const ExecName = "husk-exec"

// RunExec becomes the command that PID 1 describes. It was forked into the container, and returns
// only by exec, or by exiting after it has reported the error.
func RunExec() { runAs(becomeCommand) }

func becomeCommand() error {
	b, err := io.ReadAll(os.NewFile(configFD, "config"))
	if err != nil {
		return err
	}
	var config childConfig
	if err := json.Unmarshal(b, &config); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0); err != nil {
		return err
	}
	return becomeProcess(&config)
}

// becomeProcess switches to the container's user, limits, capabilities and directory, and then
// executes its command.
func becomeProcess(config *childConfig) error {
	c := &config.Container
	who, err := lookUpUser(c.User)
	if err != nil {
		return err
	}
	groups, err := user.GetAdditionalGroupsPath(c.Groups, "/etc/group")
	if err != nil {
		return &startError{126, fmt.Sprintf("groups: %v", err)}
	}
	who.Sgids = append(who.Sgids, groups...)
	env := environment(c.Env, config.Hostname, who.Home)
	if err := limitFiles(); err != nil {
		return err
	}
	if !c.Privileged {
		if err := confine(c); err != nil {
			return err
		}
	}
	if err := becomeUser(who); err != nil {
		return err
	}
	if err := unix.Chdir(workingDir(c)); err != nil {
		return &startError{126, fmt.Sprintf("working directory %q: %v", c.WorkingDir, err)}
	}
	return execute(c.Args, env)
}

// lookUpUser finds a user in the files of the container in which it runs.
func lookUpUser(name string) (*user.ExecUser, error) {
	who, err := user.GetExecUserPath(name, &user.ExecUser{Home: "/"}, "/etc/passwd", "/etc/group")
	if err != nil {
		return nil, &startError{126, fmt.Sprintf("user %q: %v", name, err)}
	}
	return who, nil
}

// containerSpaces are the namespaces that each container has of its own.
const containerSpaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP

// inside runs f on a thread that has entered the container. The thread's root is the container's,
// so no path of the tenant leads out of it, and f's child processes start there. The thread ends
// afterwards. f must not start goroutines that use files.
func (k *child) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked, so the thread that has entered ends with its goroutine.
		runtime.LockOSThread()
		done <- func() error {
			// Threads share root and working directory until they unshare them.
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("enter the container: %w", err)
			}
			if err := k.enter(); err != nil {
				return fmt.Errorf("enter the container: %w", err)
			}
			return f()
		}()
	}()
	return <-done
}

func (k *child) enter() error {
	k.entry.RLock()
	defer k.entry.RUnlock()
	if k.pidFD < 0 {
		return unix.ESRCH
	}
	return unix.Setns(k.pidFD, containerSpaces)
}
