// SPDX-License-Identifier: Apache-2.0

package print

import (
	"fmt"
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
	Errs       io.Writer // for notes about dropped lines; may be nil
	Prefix     string
	Timestamps bool

	held   string // the beginning of a line whose end has not come yet
	within bool   // a line has begun
}

// Print prints a line, after a note if lines before it were dropped.
func (p *Lines) Print(l client.LogLine) error {
	if l.Dropped > 0 && p.Errs != nil {
		p.Mu.Lock()
		_, err := fmt.Fprintf(p.Errs, "%s(%d lines were dropped here: the container wrote them faster than its node could read them)\n", p.Prefix, l.Dropped)
		p.Mu.Unlock()
		if err != nil {
			return err
		}
	}
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
