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

// Print prints a line, after a note if output before it is missing.
func (p *Lines) Print(l client.LogLine) error {
	if missing := l.Missing(); missing != "" && p.Errs != nil {
		if err := p.End(); err != nil {
			return err
		}
		p.Mu.Lock()
		_, err := fmt.Fprintf(p.Errs, "%s(%s of output are missing here: the container wrote faster than its node stores, or the oldest output was removed)\n", p.Prefix, missing)
		p.Mu.Unlock()
		if err != nil {
			return err
		}
	}
	text := l.Text()
	if text == "" {
		return nil
	}
	if !p.within {
		p.held = p.Prefix
		if p.Timestamps {
			p.held += l.Time.UTC().Format(time.RFC3339Nano) + " "
		}
	}
	p.held += text
	p.within = l.Partial
	if l.Partial && p.Prefix != "" && len(p.held) < longestLine {
		return nil
	}
	return p.flush()
}

// End prints the beginning of a line that has no end. With a prefix, other containers' lines may follow, so it gets a newline.
func (p *Lines) End() error {
	if p.within && p.Prefix != "" {
		p.held += "\n"
		p.within = false
	}
	return p.flush()
}

func (p *Lines) flush() error {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	_, err := io.WriteString(p.Out, p.held)
	p.held = ""
	return err
}
