// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"husk/session"
)

// consoleLook is how often the agent checks a console for new output. virtlogd writes the file and
// does not notify anyone.
const consoleLook = 100 * time.Millisecond

// console is a stream of a machine's console output: what it has printed, and what it prints next.
// It takes no input.
type console struct {
	path string
	gone <-chan struct{} // closed when the pod is gone

	file   *os.File
	buf    []byte
	closed chan struct{}
	once   sync.Once
}

func followConsole(path string, gone <-chan struct{}) (*console, error) {
	file, err := openIfThere(path)
	if err != nil {
		return nil, consoleError(path, err)
	}
	return &console{path: path, gone: gone, file: file, buf: make([]byte, session.Chunk), closed: make(chan struct{})}, nil
}

// Receive waits for output. It implements session.Conn.
func (c *console) Receive() (session.Frame, error) {
	for {
		n, err := c.read()
		if err != nil {
			return session.Frame{}, consoleError(c.path, err)
		}
		if n > 0 {
			return session.Frame{Kind: session.Stdout, Payload: c.buf[:n]}, nil
		}
		select {
		case <-c.closed:
			return session.Frame{}, errors.Join(io.ErrClosedPipe, c.drop())
		case <-c.gone:
			return session.Frame{Kind: session.Exit, Payload: []byte(`{"code":0}`)}, c.drop()
		case <-time.After(consoleLook):
		}
	}
}

// read continues to read, also across a rotation: virtlogd renames a full file and begins another.
func (c *console) read() (int, error) {
	if c.file == nil {
		file, err := openIfThere(c.path)
		if err != nil || file == nil {
			return 0, err
		}
		c.file = file
	}
	n, err := c.file.Read(c.buf)
	if n > 0 || err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	now, err := os.Stat(c.path)
	if err != nil {
		return 0, nil //nolint:nilerr // during a rotation, or deleted with its pod
	}
	if mine, err := c.file.Stat(); err != nil || os.SameFile(now, mine) {
		return 0, err
	}
	return 0, c.drop()
}

func (c *console) drop() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

// Send drops input.
func (c *console) Send(session.Kind, []byte) error { return nil }

// Close ends the stream.
func (c *console) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
