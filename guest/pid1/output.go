//go:build linux

package pid1

import (
	"io"
	"os"
	"time"
)

// lastOutput is how much a container may have put out before its end that is
// still to be read, in bytes: as much as a pipe may hold.
const lastOutput = 1 << 20

// output is what copyLines reads of a container: everything goes to those who
// are attached first.
type output struct {
	k    *child
	f    *os.File
	to   *stdio
	name string // of the stream
	late int    // bytes that came after the container's end
}

func (o *output) Read(p []byte) (int, error) {
	hold := outputHold
	if o.k.over.Load() {
		hold = outputWait
		o.f.SetReadDeadline(time.Now().Add(outputWait))
	}
	n, err := o.f.Read(p)
	if n > 0 {
		o.to.spread(streamKinds[o.name], p[:n], hold)
	}
	// Who has passed its pipe on to another container may write for ever.
	if o.k.over.Load() {
		if o.late += n; o.late >= lastOutput && err == nil {
			err = io.EOF
		}
	}
	return n, err
}
