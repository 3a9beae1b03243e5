// SPDX-License-Identifier: Apache-2.0

// Package console reads the consoles of machines. virtlogd writes them to files on the node.
package console

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"husk/session"
)

// look is how often the agent checks a console for new output. virtlogd writes the file and
// does not notify anyone.
const look = 100 * time.Millisecond

// Console is a stream of a machine's console output: what it has printed, and what it prints next.
// It takes no input.
type Console struct {
	path string
	gone <-chan struct{} // closed when the pod is gone

	file   *os.File
	buf    []byte
	closed chan struct{}
	once   sync.Once
}

// Follow follows the console in a file, which may not exist yet. gone is closed when the pod is gone.
func Follow(path string, gone <-chan struct{}) (*Console, error) {
	file, err := open(path)
	if err != nil {
		return nil, failure(path, err)
	}
	return &Console{path: path, gone: gone, file: file, buf: make([]byte, session.Chunk), closed: make(chan struct{})}, nil
}

// Receive waits for output. It implements session.Conn.
func (c *Console) Receive() (session.Frame, error) {
	for {
		n, err := c.read()
		if err != nil {
			return session.Frame{}, failure(c.path, err)
		}
		if n > 0 {
			return session.Frame{Kind: session.Stdout, Payload: c.buf[:n]}, nil
		}
		select {
		case <-c.closed:
			return session.Frame{}, errors.Join(io.ErrClosedPipe, c.drop())
		case <-c.gone:
			return session.Frame{Kind: session.Exit, Payload: []byte(`{"code":0}`)}, c.drop()
		case <-time.After(look):
		}
	}
}

// read continues to read, also across a rotation: virtlogd renames a full file and begins another.
func (c *Console) read() (int, error) {
	if c.file == nil {
		file, err := open(c.path)
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

func (c *Console) drop() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

// Send drops input.
func (c *Console) Send(session.Kind, []byte) error { return nil }

// Close ends the stream.
func (c *Console) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func open(path string) (*os.File, error) {
	f, err := os.Open(path) //nolint:gosec // virtlogd's file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing has been printed yet
	}
	return f, err
}

// failure adds the console's path to an error.
func failure(path string, err error) error { return fmt.Errorf("console %s: %w", path, err) }
