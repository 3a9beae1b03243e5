// SPDX-License-Identifier: Apache-2.0

// Package history keeps what a pod has used in the last day: a point a minute, in a file that does not grow.
package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"husk"
	"husk/openapi"
)

const (
	// Step is the time between two points.
	Step = time.Minute
	// Points is how many are kept: those of a day.
	Points = int(24 * time.Hour / Step)
	// tooLong is a time between two samples of which nothing is known: the agent did not run, or could not read the counters.
	tooLong = 2 * Step
)

// unknown stands for what the pod did not say.
const unknown = -1

// record is a point in the file, at the position that follows from its time. The encoding is little-endian, without gaps.
type record struct {
	Minute            int64 // since 1970
	CPUMillis         int64
	Used, Cached      int64 // bytes
	Received, Sent    int64 // bytes per second
	Read, Written     int64
	CPU, Memory, Disk int16 // pressures, in hundredths of a percent
	Seconds           int16 // that the rates are the means of
}

var recordSize = int64(binary.Size(record{}))

// Book is the history of one pod.
type Book struct {
	path string

	mu            sync.Mutex
	first, latest *sample // of the current minute; first is the latest of the minute before, if that is known
	peak          husk.GuestSample
	responded     bool // the pod did, in this minute
}

type sample struct {
	at time.Time
	husk.PodSample
}

// New returns the history in a directory, which must exist when something is added.
func New(dir string) *Book { return &Book{path: filepath.Join(dir, "history")} }

// Add adds a sample. Samples come in the order of time.
func (b *Book) Add(at time.Time, s husk.PodSample) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := &sample{at, s}
	var err error
	switch {
	case b.latest == nil, at.Before(b.latest.at), at.Sub(b.latest.at) > tooLong, restarted(b.latest.PodSample, s):
		err = b.close()
		b.first = next
	case minute(at) != minute(b.latest.at):
		err = b.close()
		b.first = b.latest
	}
	b.latest = next
	if g := s.Guest; g != nil {
		b.responded = true
		b.peak.MemoryUsedBytes, b.peak.MemoryCachedBytes = max(b.peak.MemoryUsedBytes, g.MemoryUsedBytes), max(b.peak.MemoryCachedBytes, g.MemoryCachedBytes)
		b.peak.CPUPressure, b.peak.MemoryPressure, b.peak.IOPressure = higher(b.peak.CPUPressure, g.CPUPressure), higher(b.peak.MemoryPressure, g.MemoryPressure), higher(b.peak.IOPressure, g.IOPressure)
	}
	return err
}

// restarted reports whether counters have begun again.
func restarted(before, after husk.PodSample) bool {
	return after.CPUNanos < before.CPUNanos || after.NetworkReceiveBytes < before.NetworkReceiveBytes || after.NetworkTransmitBytes < before.NetworkTransmitBytes ||
		after.DiskReadBytes < before.DiskReadBytes || after.DiskWriteBytes < before.DiskWriteBytes
}

func higher(a, b *int) *int {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func minute(t time.Time) int64 { return t.Unix() / int64(Step/time.Second) }

// close writes the point of the minute of the latest sample, and begins the next one.
func (b *Book) close() error {
	first, last, peak, responded := b.first, b.latest, b.peak, b.responded
	b.peak, b.responded = husk.GuestSample{}, false
	if first == nil || last == nil || !last.at.After(first.at) {
		return nil
	}
	seconds := last.at.Sub(first.at).Seconds()
	rate := func(from, to int64) int64 { return int64(math.Round(float64(to-from) / seconds)) }
	r := record{
		Minute: minute(last.at), CPUMillis: rate(first.CPUNanos/1e6, last.CPUNanos/1e6), Used: unknown, Cached: unknown,
		Received: rate(first.NetworkReceiveBytes, last.NetworkReceiveBytes), Sent: rate(first.NetworkTransmitBytes, last.NetworkTransmitBytes),
		Read: rate(first.DiskReadBytes, last.DiskReadBytes), Written: rate(first.DiskWriteBytes, last.DiskWriteBytes),
		Seconds: int16(math.Round(seconds)), CPU: pressure(peak.CPUPressure), Memory: pressure(peak.MemoryPressure), Disk: pressure(peak.IOPressure),
	}
	if responded {
		r.Used, r.Cached = peak.MemoryUsedBytes, peak.MemoryCachedBytes
	}
	return b.write(r)
}

func pressure(p *int) int16 {
	if p == nil {
		return unknown
	}
	return int16(min(*p, 10_000)) //nolint:gosec // bounded
}

func (b *Book) write(r record) error {
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(r.into(f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("record the usage of a pod: %w", err)
	}
	return nil
}

// into writes the record into a file. The minute may have a record: of the machine, or of the agent, before a restart.
func (r record) into(f *os.File) error {
	at := r.Minute % int64(Points) * recordSize
	raw := make([]byte, recordSize)
	if n, err := f.ReadAt(raw, at); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if n == len(raw) {
		var before record
		if _, err := binary.Decode(raw, binary.LittleEndian, &before); err != nil {
			return err
		}
		if before.Minute == r.Minute {
			r = before.and(r)
		}
	}
	if _, err := binary.Encode(raw, binary.LittleEndian, r); err != nil {
		return err
	}
	_, err := f.WriteAt(raw, at)
	return err
}

// and returns the record of two parts of a minute.
func (r record) and(next record) record {
	mean := func(a, b int64) int64 {
		seconds := int64(r.Seconds) + int64(next.Seconds)
		if seconds == 0 {
			return b
		}
		return (a*int64(r.Seconds) + b*int64(next.Seconds)) / seconds
	}
	return record{
		Minute: r.Minute, CPUMillis: mean(r.CPUMillis, next.CPUMillis), Used: max(r.Used, next.Used), Cached: max(r.Cached, next.Cached),
		Received: mean(r.Received, next.Received), Sent: mean(r.Sent, next.Sent), Read: mean(r.Read, next.Read), Written: mean(r.Written, next.Written),
		CPU: max(r.CPU, next.CPU), Memory: max(r.Memory, next.Memory), Disk: max(r.Disk, next.Disk), Seconds: r.Seconds + next.Seconds,
	}
}

// Read returns the points of the last day that are not older than since, the oldest first.
func (b *Book) Read(since, now time.Time) ([]openapi.StatsPoint, error) {
	points := []openapi.StatsPoint{}
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return points, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the history of a pod: %w", err)
	}
	for i := int64(0); i+recordSize <= int64(len(raw)) && i/recordSize < int64(Points); i += recordSize {
		var r record
		if _, err := binary.Decode(raw[i:], binary.LittleEndian, &r); err != nil {
			return nil, err
		}
		age := minute(now) - r.Minute
		if r.Minute == 0 || age < 0 || age >= int64(Points) { // never written, or older than a day, or of a clock that was wrong
			continue
		}
		if p := r.point(); !p.At.Before(since) {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, func(a, b openapi.StatsPoint) int { return a.At.Compare(b.At) })
	return points, nil
}

func (r record) point() openapi.StatsPoint {
	p := openapi.StatsPoint{
		At: time.Unix((r.Minute+1)*int64(Step/time.Second), 0).UTC(), CPUMillis: int(r.CPUMillis), RxBytesPerSecond: r.Received, TxBytesPerSecond: r.Sent,
		ReadBytesPerSecond: r.Read, WriteBytesPerSecond: r.Written,
	}
	if r.Used != unknown {
		p.MemoryUsedBytes, p.MemoryCachedBytes = &r.Used, &r.Cached
	}
	percent := func(hundredths int16) *float32 {
		if hundredths == unknown {
			return nil
		}
		share := float32(hundredths) / 100
		return &share
	}
	p.CPUPressurePercent, p.MemoryPressurePercent, p.IoPressurePercent = percent(r.CPU), percent(r.Memory), percent(r.Disk)
	return p
}
