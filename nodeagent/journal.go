package nodeagent

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
)

// run is one life of a virtual machine.
type run struct {
	husk.MachineRun

	// Changes counts changes of the run, and Told is how many of them a server has heard of.
	Changes, Told int
	countedAt     time.Time // when its traffic was last worth telling
}

// journal keeps the lives of this node's virtual machines until a server has booked them. It outlives the agent and the pods' own
// directories: what is not told yet is told by the next agent, also of pods that are gone.
type journal struct {
	dir  string
	mu   sync.Mutex
	pods map[uuid.UUID][]*run
}

// openJournal reads what an agent before this one has left.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the journal's directory: %w", err)
	}
	j := &journal{dir: dir, pods: map[uuid.UUID][]*run{}}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the journal: %w", err)
	}
	for _, f := range files {
		pod, err := uuid.Parse(strings.TrimSuffix(f.Name(), ".json"))
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(j.file(pod))
		if err != nil {
			return nil, fmt.Errorf("read the journal of pod %s: %w", pod, err)
		}
		var runs []*run
		if err := json.Unmarshal(raw, &runs); err != nil {
			return nil, fmt.Errorf("read the journal of pod %s in %s: %w", pod, j.file(pod), err)
		}
		for _, r := range runs {
			r.Told = 0 // whether the last telling arrived is not known
		}
		j.pods[pod] = runs
	}
	return j, nil
}

func (j *journal) file(pod uuid.UUID) string { return filepath.Join(j.dir, pod.String()+".json") }

// save writes a pod's runs, and removes the file of one that has none.
func (j *journal) save(pod uuid.UUID) error {
	runs := j.pods[pod]
	if len(runs) == 0 {
		delete(j.pods, pod)
		if err := os.Remove(j.file(pod)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget the journal of pod %s: %w", pod, err)
		}
		return nil
	}
	raw, err := json.Marshal(runs)
	if err != nil {
		return err
	}
	if err := writeFile(j.file(pod), raw); err != nil {
		return fmt.Errorf("write the journal of pod %s: %w", pod, err)
	}
	return nil
}

// open is the pod's run that has not ended, or nil.
func (j *journal) open(pod uuid.UUID) *run {
	if runs := j.pods[pod]; len(runs) > 0 && runs[len(runs)-1].StoppedAt == nil {
		return runs[len(runs)-1]
	}
	return nil
}

// begin notes that a pod's machine was started. One that is open already goes on.
func (j *journal) begin(pod uuid.UUID, at time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.open(pod) != nil {
		return nil
	}
	j.pods[pod] = append(j.pods[pod], &run{MachineRun: husk.MachineRun{PodID: pod, StartedAt: at.UTC().Truncate(time.Microsecond)}, Changes: 1})
	return j.save(pod)
}

// end notes that it has stopped; nothing happens when none is open.
func (j *journal) end(pod uuid.UUID, at time.Time) error {
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

// startOf is when the pod's open run began, and false when there is none.
func (j *journal) startOf(pod uuid.UUID) (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.open(pod); r != nil {
		return r.StartedAt, true
	}
	return time.Time{}, false
}

// trafficEvery is how often a server is told of traffic alone.
const trafficEvery = time.Minute

// count notes the bytes through a pod's interface so far, and tells whether that is worth telling by now.
func (j *journal) count(pod uuid.UUID, received, sent int64, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.open(pod)
	if r == nil || received < r.ReceivedBytes || sent < r.SentBytes || received == r.ReceivedBytes && sent == r.SentBytes {
		return false
	}
	r.ReceivedBytes, r.SentBytes = received, sent
	if now.Sub(r.countedAt) < trafficEvery {
		return false // in memory: what an agent's death costs is at most a minute's count of a counter that goes on
	}
	r.countedAt = now
	r.Changes++
	return true
}

// running are the pods with an open run.
func (j *journal) running() (pods []uuid.UUID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for pod := range j.pods {
		if j.open(pod) != nil {
			pods = append(pods, pod)
		}
	}
	return pods
}

// maxTelling is how many runs are told at a time; the contract takes twice as many.
const maxTelling = 5000

// telling is what a server has not heard of, and how far it goes.
type telling struct {
	runs []husk.MachineRun
	upTo map[*run]int
}

func (j *journal) untold() telling {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := telling{upTo: map[*run]int{}}
	for _, runs := range j.pods {
		for _, r := range runs {
			if r.Told < r.Changes && len(t.runs) < maxTelling {
				t.runs = append(t.runs, r.MachineRun)
				t.upTo[r] = r.Changes
			}
		}
	}
	return t
}

// told notes that a server has booked a telling, and forgets the runs that have ended.
func (j *journal) told(t telling) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var failures []error
	for r, changes := range t.upTo {
		r.Told = changes
		if r.StoppedAt == nil || r.Told < r.Changes {
			continue
		}
		j.pods[r.PodID] = slices.DeleteFunc(j.pods[r.PodID], func(o *run) bool { return o == r })
		failures = append(failures, j.save(r.PodID))
	}
	return errors.Join(failures...)
}
