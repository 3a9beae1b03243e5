// SPDX-License-Identifier: Apache-2.0

//go:build linux

package become

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenTerminal makes a terminal in the container. It runs inside the container.
func OpenTerminal() (master, slave *os.File, err error) {
	// The tenant controls what is at /dev/ptmx. If it is not a terminal, the following calls fail.
	fd, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "terminal")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("unlock: %w", err)
	}
	if slave, err = openPeer(fd); err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}

// openPeer opens the other end of a terminal.
func openPeer(master int) (*os.File, error) {
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, fmt.Errorf("open: %w", errno)
	}
	return os.NewFile(slave, "terminal"), nil
}

// takeTerminal makes a terminal in the container, makes it this process's terminal, and passes its
// other end to PID 1.
func takeTerminal() error {
	master, slave, err := OpenTerminal()
	if err != nil {
		return &StartError{126, fmt.Sprintf("no terminal: %v", err)}
	}
	defer master.Close()
	defer slave.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(slave.Fd()), fd, 0); err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
	}
	if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("controlling terminal: %w", err)
	}
	conn, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = unix.Sendmsg(terminalFD, []byte{0}, unix.UnixRights(int(fd)), nil, 0)
	})
	if err := errors.Join(err, failed, unix.Close(terminalFD)); err != nil {
		return fmt.Errorf("send the terminal: %w", err)
	}
	return nil
}

// ReceiveTerminal waits for the terminal of a starting container. It returns its master, and its
// slave, which is kept open so that the terminal does not end if the container closes it for a
// while. Both are nil if the container failed before; that error is reported elsewhere.
func ReceiveTerminal(from *os.File) (master, slave *os.File, err error) {
	var one [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(from.Fd()), one[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return nil, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, nil, errors.Join(err, errors.New("no descriptor in the message"))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, errors.Join(err, errors.New("no terminal"))
	}
	master = os.NewFile(uintptr(fds[0]), "terminal")
	if slave, err = openPeer(fds[0]); err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
