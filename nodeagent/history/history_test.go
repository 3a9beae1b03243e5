// SPDX-License-Identifier: Apache-2.0

package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"husk"
	"husk/openapi"
)

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// use is what a pod uses all the time.
func use(at time.Time) husk.PodSample {
	seconds := int64(at.Sub(start).Seconds())
	return husk.PodSample{
		CPUNanos: seconds * 250e6, NetworkReceiveBytes: seconds * 100, NetworkTransmitBytes: seconds * 200, DiskReadBytes: seconds * 300, DiskWriteBytes: seconds * 400,
	}
}

func read(t *testing.T, b *Book, since, now time.Time) []openapi.StatsPoint {
	t.Helper()
	points, err := b.Read(since, now)
	if err != nil {
		t.Fatal(err)
	}
	return points
}

func add(t *testing.T, b *Book, from time.Time, samples int, sample func(time.Time) husk.PodSample) (next time.Time) {
	t.Helper()
	for range samples {
		if err := b.Add(from, sample(from)); err != nil {
			t.Fatal(err)
		}
		from = from.Add(10 * time.Second)
	}
	return from
}

func TestAPointSaysWhatAMinuteUsed(t *testing.T) {
	t.Parallel()
	b := New(t.TempDir())
	if p := read(t, b, time.Time{}, start); len(p) != 0 {
		t.Errorf("a pod without history has %+v", p)
	}
	pressure := func(n int) *int { return &n }
	end := add(t, b, start, 18, func(at time.Time) husk.PodSample {
		s := use(at)
		if m := at.Sub(start); m < time.Minute {
			s.Guest = &husk.GuestSample{MemoryUsedBytes: 1000 - int64(m.Seconds()), MemoryCachedBytes: 7, CPUPressure: pressure(int(m.Seconds()))}
		}
		return s
	})
	points := read(t, b, time.Time{}, end)
	if len(points) != 2 {
		t.Fatalf("three minutes, the last of which has not ended, have %d points", len(points))
	}
	first := points[0]
	if !first.At.Equal(start.Add(time.Minute)) || first.CPUMillis != 250 || first.RxBytesPerSecond != 100 || first.TxBytesPerSecond != 200 || first.ReadBytesPerSecond != 300 || first.WriteBytesPerSecond != 400 {
		t.Errorf("the first point is %+v", first)
	}
	if first.MemoryUsedBytes == nil || *first.MemoryUsedBytes != 1000 || *first.MemoryCachedBytes != 7 || *first.CPUPressurePercent != 0.5 || first.IoPressurePercent != nil {
		t.Errorf("the first point is %+v; memory and pressures are the highest ones", first)
	}
	if p := points[1]; p.MemoryUsedBytes != nil || p.CPUPressurePercent != nil || p.CPUMillis != 250 {
		t.Errorf("without responses of the pod, a point is %+v", p)
	}
	if p := read(t, b, start.Add(90*time.Second), end); len(p) != 1 || !p[0].At.Equal(start.Add(2*time.Minute)) {
		t.Errorf("since 09:01:30 there is %+v", p)
	}
	// The next agent continues.
	again := New(filepath.Dir(b.path))
	end = add(t, again, end, 8, use)
	if p := read(t, again, time.Time{}, end); len(p) != 3 {
		t.Errorf("after a restart of the agent, there are %d points", len(p))
	}
}

func TestTheFileDoesNotGrow(t *testing.T) {
	t.Parallel()
	b := New(t.TempDir())
	now := add(t, b, start, 3*24*360, use)
	points := read(t, b, time.Time{}, now)
	if len(points) < Points-2 || len(points) > Points { // the last minutes have not ended
		t.Errorf("after three days, there are %d points", len(points))
	}
	for i := range points[1:] {
		if points[i+1].At.Sub(points[i].At) != Step {
			t.Fatalf("after %s comes %s", points[i].At, points[i+1].At)
		}
	}
	if info, err := os.Stat(b.path); err != nil || info.Size() > int64(Points)*recordSize {
		t.Errorf("the file has %d bytes: %v", info.Size(), err)
	}
	if p := read(t, b, time.Time{}, now.Add(25*time.Hour)); len(p) != 0 {
		t.Errorf("a day later, there are %d points", len(p))
	}
}

// A restarted machine counts from zero, and nothing is known of the time when nobody has counted.
func TestGapsAreNoRates(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(time.Time) (time.Time, func(time.Time) husk.PodSample){
		"restart": func(at time.Time) (time.Time, func(time.Time) husk.PodSample) {
			return at, func(t time.Time) husk.PodSample {
				s := use(t)
				s.CPUNanos -= at.Sub(start).Nanoseconds() / 4
				return s
			}
		},
		"pause": func(at time.Time) (time.Time, func(time.Time) husk.PodSample) { return at.Add(10 * time.Minute), use },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := New(t.TempDir())
			end := add(t, b, start, 12, use)
			from, sample := next(end)
			end = add(t, b, from, 12, sample)
			for _, p := range read(t, b, time.Time{}, end) {
				if p.CPUMillis != 250 {
					t.Errorf("a point is %+v", p)
				}
			}
		})
	}
}

// The machine runs out of memory in the middle of a minute, and starts again.
func TestTheMinuteOfARestartKeepsItsPeak(t *testing.T) {
	t.Parallel()
	b := New(t.TempDir())
	uses := func(bytes int64, from time.Time) func(time.Time) husk.PodSample {
		return func(at time.Time) husk.PodSample {
			s := use(at)
			s.CPUNanos -= from.Sub(start).Nanoseconds() / 4
			s.Guest = &husk.GuestSample{MemoryUsedBytes: bytes}
			return s
		}
	}
	at := add(t, b, start, 4, uses(1000, start))
	at = add(t, b, at, 10, uses(10, at))
	points := read(t, b, time.Time{}, at)
	if len(points) != 2 || *points[0].MemoryUsedBytes != 1000 || points[0].CPUMillis != 250 || *points[1].MemoryUsedBytes != 10 {
		t.Errorf("the points are %+v", points)
	}
}

func TestADamagedFileIsNoDanger(t *testing.T) {
	t.Parallel()
	b := New(t.TempDir())
	if err := os.WriteFile(b.path, make([]byte, 5*recordSize+3), 0o600); err != nil {
		t.Fatal(err)
	}
	end := add(t, b, start, 12, use)
	if p := read(t, b, time.Time{}, end); len(p) != 1 {
		t.Errorf("there is %+v", p)
	}
}
