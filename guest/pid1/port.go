// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
)

// port is the guest's end of the channel, see guest.Port.
type port struct{ *os.File }

// openPort waits for the channel's device. It appears shortly after its driver was loaded, or never
// in a VM that was only started to measure its boot time.
func openPort() *port {
	for wait := time.Millisecond; ; wait = min(2*wait, time.Second) {
		dev, err := findPort()
		if err == nil {
			var fd int
			if fd, err = unix.Open(dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
				return &port{os.NewFile(uintptr(fd), dev)}
			}
		}
		if !errors.Is(err, os.ErrNotExist) {
			warn("guest channel: %v", err)
		}
		time.Sleep(wait)
	}
}

func findPort() (string, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(b)) == guest.PortName {
			return "/dev/" + filepath.Base(filepath.Dir(name)), nil
		}
	}
	return "", os.ErrNotExist
}

// WaitHost waits until a host is connected. It polls the device only when the kernel reports an
// event on it.
func (p *port) WaitHost() error {
	conn, err := p.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			_, failed = unix.Poll(poll, 0)
			if failed != unix.EINTR {
				break
			}
		}
		return failed != nil || poll[0].Revents&unix.POLLHUP == 0
	})
	return errors.Join(err, failed)
}
