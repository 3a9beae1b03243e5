// SPDX-License-Identifier: Apache-2.0

package print

import (
	"io"
	"sync"
	"time"

	"husk/client"
)

// longestLine is how many bytes of an unfinished line are held back at most, so that the line is not mixed with lines of other containers.
const longestLine = 256 << 10

// Lines prints the log of a container: standard output and standard error, both to Out.
type Lines struct {
	Mu         *sync.Mutex // of everything that prints on Out
	Out        io.Writer
	Prefix     string
	Timestamps bool

	held   string // the beginning of a line whose end has not come yet
	within bool   // a line has begun
}

// Print prints a line.
func (p *Lines) Print(l client.LogLine) error {
	if !p.within {
		p.held = p.Prefix
		if p.Timestamps {
			p.held += l.Time.UTC().Format(time.RFC3339Nano) + " "
		}
	}
	p.held += l.Text()
	p.within = l.Partial
	if l.Partial && p.Prefix != "" && len(p.held) < longestLine {
		return nil
	}
	p.Mu.Lock()
	defer p.Mu.Unlock()
	_, err := io.WriteString(p.Out, p.held)
	p.held = ""
	return err
}
