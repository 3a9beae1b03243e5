// SPDX-License-Identifier: Apache-2.0

package podlog

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"husk/guest"
)

// oldLine is a line of a log that the previous version has written, as JSON.
type oldLine struct {
	Time    time.Time `json:"time"`
	Stream  string    `json:"stream"`
	Line    string    `json:"line"`
	Partial bool      `json:"partial"`
	Boot    string    `json:"boot"`
	Seq     uint64    `json:"seq"`
}

// convert replaces the files of the previous version, once. It can be removed with the release after
// next.
func (l *Log) convert() error {
	old := strings.TrimSuffix(l.path, ".log") + ".jsonl"
	for _, names := range [][2]string{{old + ".1", l.path + ".1"}, {old, l.path}} {
		from, err := openIfThere(names[0])
		if err != nil {
			return err
		}
		if from == nil {
			continue
		}
		err = convertFile(from, names[1])
		if err = errors.Join(err, from.Close()); err != nil {
			return err
		}
		if err := os.Remove(names[0]); err != nil {
			return err
		}
	}
	return nil
}

func convertFile(from *os.File, name string) error {
	to, err := os.Create(name + ".new") //nolint:gosec // the agent's own state
	if err != nil {
		return err
	}
	out := bufio.NewWriter(to)
	in := bufio.NewScanner(from)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var o oldLine
		if json.Unmarshal(in.Bytes(), &o) != nil || o.Seq == 0 || len(o.Line) > guest.MaxLogPiece || len(o.Boot) > maxBoot {
			continue // a crash has truncated it
		}
		r := record{time: o.Time, stderr: o.Stream == guest.Stderr, lines: true, boot: o.Boot, end: o.Seq, bytes: []byte(o.Line)}
		if !o.Partial {
			r.bytes = append(r.bytes, '\n')
		}
		if _, err = out.Write(r.append(nil)); err != nil {
			break
		}
	}
	if err = errors.Join(err, in.Err(), out.Flush(), to.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
