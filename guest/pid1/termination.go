// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"husk/guest"
	"husk/guest/logring"
)

// maxMessage is how much of the end of a termination message is read, in bytes.
const maxMessage = 4096

// message is the file that a container can write its termination message to. Every run has its own.
// Its file system is small, so that it cannot use up the space of husk-init.
type message struct{ file *os.File }

func newMessage(run string) (*message, error) {
	f, err := os.OpenFile(filepath.Join(messagesDir, run), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("termination message: %w", err)
	}
	if err := f.Chmod(0o666); err != nil { // for every user of the container
		f.Close()
		return nil, fmt.Errorf("termination message: %w", err)
	}
	return &message{f}, nil
}

// text returns the end of the message.
func (m *message) text() string {
	if m == nil {
		return ""
	}
	info, err := m.file.Stat()
	if err != nil {
		return ""
	}
	b, err := io.ReadAll(io.NewSectionReader(m.file, max(0, info.Size()-maxMessage), maxMessage))
	if err != nil {
		return ""
	}
	return string(b)
}

func (m *message) remove() {
	if m != nil {
		os.Remove(m.file.Name())
		m.file.Close()
	}
}

// How much of the end of a log becomes a termination message, as in Kubernetes.
const (
	maxLogLines   = 80
	maxLogMessage = 2048 // bytes
)

// lastLines returns the end of a container's log.
func lastLines(log *logring.Ring) string {
	var end []byte
	err := log.CopyTo(context.Background(), 0, false, func(entries []guest.LogEntry) error {
		for _, e := range entries {
			end = append(end, e.Bytes...)
		}
		end = slices.Delete(end, 0, max(0, len(end)-maxLogMessage))
		return nil
	})
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(string(end), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLogLines):], "\n")
}
