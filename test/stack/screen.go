// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Screen is a terminal in which a husk command runs.
type Screen struct {
	*Command
	t      testing.TB
	master *os.File
}

// OnScreen starts a husk command in a terminal of the given size.
func (tn *Tenant) OnScreen(t testing.TB, cols, rows uint16, args ...string) *Screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	s := &Screen{t: t, master: master}
	s.Resize(cols, rows)
	cmd := tn.Husk(t.Context(), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s.Command = Start(t, cmd)
	go func() { _, _ = io.Copy(s.Command, master) }() // until the terminal is closed
	return s
}

// Resize changes the terminal's size.
func (s *Screen) Resize(cols, rows uint16) {
	s.t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows}); err != nil {
		s.t.Fatal(err)
	}
}

// Type types a text.
func (s *Screen) Type(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, text); err != nil {
		s.t.Fatal(err)
	}
}

// TypeUntil types a text repeatedly until the output contains another text. Use it if the test
// cannot know when the program starts to read.
func (s *Screen) TypeUntil(text, want string) {
	s.t.Helper()
	Eventually(s.t, 30*time.Second, func() error {
		s.Type(text)
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(firstPause) {
			if strings.Contains(s.Output(), want) {
				return nil
			}
		}
		return fmt.Errorf("it printed %q, which does not contain %q", s.Output(), want)
	})
}
