// SPDX-License-Identifier: Apache-2.0

// Package migrate moves the memory of a machine from one node to another. The agents of both speak over one connection, which both authenticate with their
// certificates. It carries a stream for messages, one for QEMU's memory, and one for each local disk:
//
//	source                                                    destination
//	hello: model, libvirt's cookie, logs ▶
//	                                                          ◀ ready: libvirt's cookie (QEMU waits)
//	QEMU ▶ socket ▶ stream                                    ▶ socket ▶ QEMU
//	paused: libvirt's cookie, the rest of the logs, what the agent knows ▶
//	                                                          asks the server for the switch
//	                                                          ◀ done
//
// Neither trusts the other: sizes are bounded, names are checked, and both ask the server how the move has ended.
package migrate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"husk/nodeagent/vm"
)

// The kinds of streams, as their first byte.
const (
	messages = 'c'
	memory   = 'm'
	disks    = 'd'
)

// message is what the agents tell each other. Only one field is set.
type message struct {
	Hello  *hello  `json:"hello,omitempty"`
	Ready  *ready  `json:"ready,omitempty"`
	File   *file   `json:"file,omitempty"` // its bytes follow
	Paused *paused `json:"paused,omitempty"`
	Done   *done   `json:"done,omitempty"`
}

type hello struct {
	Model  vm.Model `json:"model"`
	Cookie []byte   `json:"cookie"`
}

type ready struct {
	Cookie []byte `json:"cookie,omitempty"`
	Error  string `json:"error,omitempty"`
}

type paused struct {
	Cookie []byte `json:"cookie"`
	State  []byte `json:"state"` // what the source's agent knows about the pod
}

type done struct {
	Moved bool   `json:"moved"`
	Error string `json:"error,omitempty"`
}

// maxMessage is the largest message, in bytes.
const maxMessage = 1 << 20

func send(to io.Writer, m message) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(raw) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too large", len(raw))
	}
	_, err = to.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)) //nolint:gosec // checked
	return err
}

func receive(from io.Reader) (m message, _ error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return m, fmt.Errorf("the other node has ended the connection: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxMessage {
		return m, fmt.Errorf("a message of %d bytes is too large", n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(from, raw); err != nil {
		return m, fmt.Errorf("the other node has ended the connection: %w", err)
	}
	return m, json.Unmarshal(raw, &m)
}

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.KeepAliveInterval, c.ConnectionWriteTimeout, c.MaxStreamWindowSize, c.LogOutput = 5*time.Second, 10*time.Second, 16<<20, io.Discard
	return c
}

// answerTime is how long the other node may take for an answer that needs no memory to move.
const answerTime = 90 * time.Second

// join copies in both directions until both have ended.
func join(a, b net.Conn) {
	var copying sync.WaitGroup
	one := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) //nolint:errcheck // QEMU notices it
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() //nolint:errcheck // as above
		} else {
			_ = to.Close() //nolint:errcheck // a stream is closed for writing only
		}
	}
	copying.Go(func() { one(a, b) })
	copying.Go(func() { one(b, a) })
	copying.Wait()
	_ = errors.Join(a.Close(), b.Close()) //nolint:errcheck // as above
}
