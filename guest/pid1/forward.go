// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"husk/guest"
	"husk/session"
)

// connectWait is how long a program in the pod may take to accept a connection.
const connectWait = 5 * time.Second

// forward connects a stream to a port of the pod. Containers share the pod's network, and so does
// husk-init. (Package net would add its resolver.)
func (l *linux) forward(network *guest.Network, port int, accept guest.Accept) error {
	if port < 1 || port > 65535 {
		return &guest.CallError{Code: guest.CodeInvalid, Message: fmt.Sprintf("port %d: want 1 to 65535", port)}
	}
	at := []unix.Sockaddr{&unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}}
	if network != nil && network.Address.Addr().Is4() {
		at = append(at, &unix.SockaddrInet4{Port: port, Addr: network.Address.Addr().As4()})
	}
	var fd int
	var err error
	for _, a := range at {
		if fd, err = connect(a, connectWait); err == nil {
			break
		}
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return &guest.CallError{Code: guest.CodeRefused, Message: fmt.Sprintf("nothing listens on port %d", port)}
	}
	if err != nil {
		return &guest.CallError{Code: guest.CodeRefused, Message: fmt.Sprintf("port %d: %v", port, err)}
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	conn, err := accept()
	if err != nil {
		return nil
	}
	bridge(conn, f)
	return nil
}

func connect(to unix.Sockaddr, wait time.Duration) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Connect(fd, to)
	if errors.Is(err, unix.EINPROGRESS) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, e := 0, error(unix.EINTR)
		for end := time.Now().Add(wait); errors.Is(e, unix.EINTR); {
			n, e = unix.Poll(poll, int(max(0, time.Until(end)).Milliseconds()))
		}
		switch {
		case e != nil:
			err = e
		case n == 0:
			err = unix.ETIMEDOUT
		default:
			var code int
			if code, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
				err = unix.Errno(code)
			}
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bridge copies both ways until both directions have ended or one has failed.
func bridge(conn session.Conn, f *os.File) {
	sent := make(chan struct{})
	go func() { // client to pod
		defer close(sent)
		for {
			frame, err := conn.Receive()
			if err != nil {
				conn.Close()
				f.SetDeadline(time.Unix(1, 0))
				return
			}
			switch frame.Kind {
			case session.Stdin:
				if !writeAll(conn, f, frame.Payload) { // the client has gone, or the program
					conn.Close()
					f.SetDeadline(time.Unix(1, 0))
					return
				}
			case session.EOF:
				shutDown(f)
				return
			default:
			}
		}
	}()
	buf := make([]byte, session.Chunk)
	for {
		n, err := f.Read(buf)
		if n > 0 && conn.Send(session.Stdout, buf[:n]) != nil {
			return
		}
		if errors.Is(err, io.EOF) {
			if conn.Send(session.EOF, nil) != nil {
				return
			}
			<-sent
			break
		}
		if err != nil { // an error of either side
			break
		}
	}
	session.SendExit(conn, session.Status{})
}

// writeAll passes on the client's data, and checks whether the client is still there while the
// program does not read.
func writeAll(conn session.Conn, f *os.File, p []byte) bool {
	for len(p) > 0 {
		f.SetWriteDeadline(time.Now().Add(stuckInput))
		n, err := f.Write(p)
		p = p[n:]
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || conn.Send(session.Stdout, nil) != nil {
			return false
		}
	}
	return true
}

func shutDown(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}
