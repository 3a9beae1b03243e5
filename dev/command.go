// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// run runs a short-lived tool and returns its output. If it fails, the error contains its stderr.
func (s *Stack) run(ctx context.Context, cred *syscall.Credential, stdin, path string, args ...string) (out, diagnostics string, err error) {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the caller chooses the programs
	cmd.Dir = s.dir.path
	cmd.Env = os.Environ()
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: cred}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", "", fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), stderr.String(), nil
}
