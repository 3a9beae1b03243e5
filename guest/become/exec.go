// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CommandName is argv[0] of husk-init before it becomes a command in a running container.
const CommandName = "husk-exec"

// Command becomes the command that PID 1 describes. It was forked into the container, and returns
// only by exec, or by exiting after it has reported the error.
func Command() { runAs(becomeCommand) }

func becomeCommand() error {
	b, err := io.ReadAll(os.NewFile(configFD, "config"))
	if err != nil {
		return err
	}
	var config Config
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
func becomeProcess(config *Config) error {
	c := &config.Container
	who, err := LookUpUser(c.User)
	if err != nil {
		return err
	}
	if c.NonRoot && who.Uid == 0 {
		return &StartError{126, "the user is root, and the container does not allow that; set a user, or leave nonRoot out"}
	}
	groups, err := additionalGroups(c.Groups)
	if err != nil {
		return &StartError{126, fmt.Sprintf("groups: %v", err)}
	}
	who.Sgids = append(who.Sgids, groups...)
	env := environment(c.Env, config.Hostname, who.Home)
	if err := limitFiles(); err != nil {
		return err
	}
	if err := setUlimits(c.Ulimits); err != nil {
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
		return &StartError{126, fmt.Sprintf("working directory %q: %v", c.WorkingDir, err)}
	}
	if c.InitProcess {
		return executeInit(c.Args, env)
	}
	return execute(c.Args, env)
}
