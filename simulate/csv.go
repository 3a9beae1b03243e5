// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"husk/scheduler"
)

// Pod is one line of a pods file.
type Pod struct {
	Name     string
	Size     scheduler.Resources
	GPUs     int
	Arrival  float64 // seconds
	Duration float64 // seconds; +Inf if the file does not say
}

// Node is a machine of a nodes file.
type Node struct {
	Name     string
	Capacity scheduler.Resources
	GPUs     int
	Model    string
	Pool     string
}

// Trace is a pods file.
type Trace struct {
	Pods  []Pod
	Timed bool // the file has arrivals or durations
}

// table reads CSV by column names. Unused columns are ignored, because real traces have many.
type table struct {
	file string
	r    *csv.Reader
	at   map[string]int
	row  []string
}

func open(file string, from io.Reader) (*table, error) {
	t := &table{file: file, r: csv.NewReader(from), at: map[string]int{}}
	t.r.ReuseRecord, t.r.TrimLeadingSpace = true, true
	head, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty; its first line must name the columns, at least cpu_milli,memory_mib", file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if _, twice := t.at[name]; twice && name != "" {
			return nil, fmt.Errorf("%s: line 1: duplicate column %q; remove one", file, name)
		}
		t.at[name] = i
	}
	for _, name := range []string{"cpu_milli", "memory_mib"} {
		if !t.has(name) {
			return nil, fmt.Errorf("%s: line 1: missing column %q; add it to the header and a value to each line", file, name)
		}
	}
	return t, nil
}

func (t *table) has(name string) bool { _, known := t.at[name]; return known }

// next reads a row. It returns false at the end of the file.
func (t *table) next() (bool, error) {
	row, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w; every line needs as many values as the header", t.file, err)
	}
	t.row = row
	return true, nil
}

func (t *table) text(name string) string {
	i, known := t.at[name]
	if !known {
		return ""
	}
	return strings.TrimSpace(t.row[i])
}

func (t *table) wrong(name, want string) error {
	line, _ := t.r.FieldPos(t.at[name])
	return fmt.Errorf("%s: line %d, column %s: %q is not %s; correct the value or remove the line", t.file, line, name, t.text(name), want)
}

// most is the largest accepted amount: a thousand times that of any machine, and far from an
// overflow when summed.
const most = 1 << 40

// amount reads a whole number. A column that is missing or empty has the default.
func (t *table) amount(name string, otherwise int) (int, error) {
	s := t.text(name)
	if s == "" && name != "cpu_milli" && name != "memory_mib" {
		return otherwise, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > most {
		return 0, t.wrong(name, "a number from 0 to "+strconv.Itoa(most))
	}
	return int(math.Ceil(v)), nil
}

// seconds reads a time. A column that is missing or empty has the default.
func (t *table) seconds(name string, otherwise float64) (float64, error) {
	s := t.text(name)
	if s == "" {
		return otherwise, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > most {
		return 0, t.wrong(name, "a time in seconds, 0 or more")
	}
	return v, nil
}

// mostNodes limits the number of nodes in one file.
const mostNodes = 10_000_000

// ReadNodes reads a nodes file: cpu_milli,memory_mib[,count][,name or sn][,gpu][,model][,pool]. A
// line with a count stands for as many nodes.
func ReadNodes(file string, from io.Reader) ([]Node, error) {
	t, err := open(file, from)
	if err != nil {
		return nil, err
	}
	var nodes []Node
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		var n Node
		var count int
		var errs [4]error
		n.Capacity.CPUMillis, errs[0] = t.amount("cpu_milli", 0)
		n.Capacity.MemoryMiB, errs[1] = t.amount("memory_mib", 0)
		count, errs[2] = t.amount("count", 1)
		n.GPUs, errs[3] = t.amount("gpu", 0)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		if count+len(nodes) > mostNodes {
			return nil, t.wrong("count", fmt.Sprintf("small enough: all nodes together are at most %d", mostNodes))
		}
		n.Name, n.Model, n.Pool = t.text("name"), t.text("model"), t.text("pool")
		if n.Name == "" {
			n.Name = t.text("sn")
		}
		for range count {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%s: no nodes after the header; add one line for each kind, with a count", file)
	}
	return nodes, nil
}

// ReadPods reads a pods file: cpu_milli,memory_mib[,arrival_s][,duration_s][,num_gpu][,name].
// Instead of arrival and duration it accepts creation_time and deletion_time, which the openb
// traces have. It sorts the pods by arrival, and then by position in the file, unless static is
// set.
func ReadPods(file string, from io.Reader, static bool) (Trace, error) {
	t, err := open(file, from)
	if err != nil {
		return Trace{}, err
	}
	arrival, ends := "arrival_s", ""
	if !t.has(arrival) && t.has("creation_time") {
		arrival, ends = "creation_time", "deletion_time"
	}
	trace := Trace{Timed: !static && (t.has(arrival) || t.has("duration_s"))}
	for {
		more, err := t.next()
		if err != nil {
			return Trace{}, err
		}
		if !more {
			break
		}
		p := Pod{Name: t.text("name"), Duration: math.Inf(1)}
		var errs [5]error
		p.Size.CPUMillis, errs[0] = t.amount("cpu_milli", 0)
		p.Size.MemoryMiB, errs[1] = t.amount("memory_mib", 0)
		p.GPUs, errs[2] = t.amount("num_gpu", 0)
		if trace.Timed {
			p.Arrival, errs[3] = t.seconds(arrival, 0)
			p.Duration, errs[4] = t.seconds("duration_s", math.Inf(1))
			if ends != "" && !t.has("duration_s") && t.text(ends) != "" {
				end, err := t.seconds(ends, 0)
				errs[4] = err
				p.Duration = max(0, end-p.Arrival)
			}
		}
		if err := errors.Join(errs[:]...); err != nil {
			return Trace{}, err
		}
		trace.Pods = append(trace.Pods, p)
	}
	if len(trace.Pods) == 0 {
		return Trace{}, fmt.Errorf("%s: no pods after the header", file)
	}
	if trace.Timed {
		slices.SortStableFunc(trace.Pods, func(a, b Pod) int {
			switch {
			case a.Arrival < b.Arrival:
				return -1
			case a.Arrival > b.Arrival:
				return 1
			}
			return 0
		})
	}
	return trace, nil
}
