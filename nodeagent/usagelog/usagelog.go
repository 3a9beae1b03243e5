// SPDX-License-Identifier: Apache-2.0

// Package usagelog keeps the usage intervals of a node's virtual machines until a server has recorded them.
package usagelog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/file"
)

// interval is one usage interval: the time from a start of a virtual machine to its end.
type interval struct {
	husk.MachineRun

	// Changes counts changes of the interval. Told is how many of them a server has recorded.
	Changes, Told int
	countedAt     time.Time // when its traffic was last reported
	// Base is the traffic of the machine before the interval: not zero if an interval with another size came before.
	Base husk.Traffic
}

// Log keeps the usage intervals of this node's virtual machines until a server has recorded
// them. It survives the agent and the pods' own directories: after a restart the agent reports what
// is still pending, including intervals of deleted pods.
type Log struct {
	dir  string
	mu   sync.Mutex
	pods map[uuid.UUID][]*interval
	// lastSign is when the previous agent was last seen to run, and unseen are the pods with an open interval that this agent has not seen running.
	lastSign time.Time
	unseen   map[uuid.UUID]bool
}

// aliveFile is written now and then while an agent runs.
const aliveFile = "alive"

// Open reads what the previous agent left.
func Open(dir string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of usage intervals: %w", err)
	}
	j := &Log{dir: dir, pods: map[uuid.UUID][]*interval{}, unseen: map[uuid.UUID]bool{}}
	switch info, err := os.Stat(filepath.Join(dir, aliveFile)); {
	case err == nil:
		j.lastSign = info.ModTime()
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("when the previous agent was last seen: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the usage intervals: %w", err)
	}
	for _, f := range files {
		pod, err := uuid.Parse(strings.TrimSuffix(f.Name(), ".json"))
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(j.file(pod))
		if err != nil {
			return nil, fmt.Errorf("read the usage intervals of pod %s: %w", pod, err)
		}
		var runs []*interval
		if err := json.Unmarshal(raw, &runs); err != nil {
			return nil, fmt.Errorf("read the usage intervals of pod %s in %s: %w", pod, j.file(pod), err)
		}
		for _, r := range runs {
			r.Told = 0 // it is not known whether the last report arrived
		}
		j.pods[pod] = runs
		j.unseen[pod] = j.open(pod) != nil
	}
	return j, nil
}

func (j *Log) file(pod uuid.UUID) string { return filepath.Join(j.dir, pod.String()+".json") }

// save writes a pod's intervals, and removes the file of a pod that has none.
func (j *Log) save(pod uuid.UUID) error {
	runs := j.pods[pod]
	if len(runs) == 0 {
		delete(j.pods, pod)
		if err := os.Remove(j.file(pod)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the usage intervals of pod %s: %w", pod, err)
		}
		return nil
	}
	raw, err := json.Marshal(runs)
	if err != nil {
		return err
	}
	if err := file.Write(j.file(pod), raw); err != nil {
		return fmt.Errorf("write the usage intervals of pod %s: %w", pod, err)
	}
	return nil
}

// open returns the pod's interval that has not ended, or nil.
func (j *Log) open(pod uuid.UUID) *interval {
	if runs := j.pods[pod]; len(runs) > 0 && runs[len(runs)-1].StoppedAt == nil {
		return runs[len(runs)-1]
	}
	return nil
}

// Begin records that a pod's machine was started, with the size of the pod then; nil if that is not known. An interval that is already open continues.
func (j *Log) Begin(pod uuid.UUID, at time.Time, size *husk.Resources) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open(pod) != nil {
		return nil
	}
	j.pods[pod] = append(j.pods[pod], &interval{MachineRun: husk.MachineRun{PodID: pod, StartedAt: at.UTC().Truncate(time.Microsecond), Resources: size}, Changes: 1})
	return j.save(pod)
}

// End records that the machine has stopped. It does nothing if no interval is open.
func (j *Log) End(pod uuid.UUID, at time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.open(pod)
	if r == nil {
		return nil
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Before(r.StartedAt) {
		at = r.StartedAt
	}
	r.StoppedAt = &at
	r.Changes++
	return j.save(pod)
}

// Resize ends the pod's open interval, in which it had the size was, and begins another one with the size now. It does nothing if the open interval has this
// size already.
func (j *Log) Resize(pod uuid.UUID, was, now husk.Resources, at time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.open(pod)
	if r == nil || r.Resources != nil && *r.Resources == now {
		return nil
	}
	at = at.UTC().Truncate(time.Microsecond)
	if !at.After(r.StartedAt) { // two intervals of a pod have different starts
		at = r.StartedAt.Add(time.Microsecond)
	}
	if r.Resources == nil {
		r.Resources = &was
	}
	r.StoppedAt = &at
	r.Changes++
	j.pods[pod] = append(j.pods[pod], &interval{
		MachineRun: husk.MachineRun{PodID: pod, StartedAt: at, Resources: &now}, Changes: 1, Base: r.Base.Plus(r.Traffic),
	})
	return j.save(pod)
}

// Alive notes that the agent runs.
func (j *Log) Alive() error { return file.Write(filepath.Join(j.dir, aliveFile), nil) }

// Seen notes that a pod's machine runs.
func (j *Log) Seen(pod uuid.UUID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.unseen, pod)
}

// LastSign returns when the previous agent was last seen to run, if this agent has not seen the pod's machine running: they went down together, with the
// node for example.
func (j *Log) LastSign(pod uuid.UUID) (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lastSign, j.unseen[pod] && !j.lastSign.IsZero()
}

// StartOf returns when the pod's open interval began, and false if there is none.
func (j *Log) StartOf(pod uuid.UUID) (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.open(pod); r != nil {
		return r.StartedAt, true
	}
	return time.Time{}, false
}

// trafficEvery is how often an interval is reported if only its traffic has changed.
const trafficEvery = time.Minute

// Count records the traffic of a pod's interface so far, and reports whether it is time to report
// it to a server.
func (j *Log) Count(pod uuid.UUID, t husk.Traffic, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.open(pod)
	if r != nil {
		t = t.Minus(r.Base)
	}
	if r == nil || t.ReceivedBytes < r.ReceivedBytes || t.SentBytes < r.SentBytes || t == r.Traffic {
		return false
	}
	r.Traffic = t
	if now.Sub(r.countedAt) < trafficEvery {
		return false // kept in memory only: the counter continues, so a crash of the agent loses at most a minute of it
	}
	r.countedAt = now
	r.Changes++
	return true
}

// Running returns the pods with an open interval.
func (j *Log) Running() (pods []uuid.UUID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for pod := range j.pods {
		if j.open(pod) != nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// maxBatch is how many intervals are reported at a time. The contract allows twice as many.
const maxBatch = 5000

// Batch is the intervals with changes that no server has recorded, and how many changes of
// each it includes.
type Batch struct {
	Runs []husk.MachineRun
	from []*interval // of the run at the same position
	upTo map[*interval]int
}

// Keep removes from the batch an interval that the server could not record, so that it stays
// pending.
func (t Batch) Keep(index int) { delete(t.upTo, t.from[index]) }

// Pending reports whether there is an interval that no server has recorded yet.
func (j *Log) Pending() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, runs := range j.pods {
		if slices.ContainsFunc(runs, func(r *interval) bool { return r.Told < r.Changes }) {
			return true
		}
	}
	return false
}

// Unrecorded returns intervals with changes that no server has recorded.
func (j *Log) Unrecorded() Batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := Batch{upTo: map[*interval]int{}}
	for _, runs := range j.pods {
		for _, r := range runs {
			if r.Told < r.Changes && len(t.Runs) < maxBatch {
				t.Runs, t.from = append(t.Runs, r.MachineRun), append(t.from, r)
				t.upTo[r] = r.Changes
			}
		}
	}
	return t
}

// Recorded notes that a server has recorded a batch, or has refused parts of it for good. It
// deletes the intervals that have ended.
func (j *Log) Recorded(t Batch) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var failures []error
	for r, changes := range t.upTo {
		r.Told = changes
		if r.StoppedAt == nil || r.Told < r.Changes {
			continue
		}
		j.pods[r.PodID] = slices.DeleteFunc(j.pods[r.PodID], func(o *interval) bool { return o == r })
		failures = append(failures, j.save(r.PodID))
	}
	return errors.Join(failures...)
}
