// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pid1

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"husk/guest"
	"husk/guest/disks"
)

// sectorBytes is the unit in which the kernel counts what disks read and write.
const sectorBytes = 512

// microsPerTick: /proc/stat counts in hundredths of a second.
const microsPerTick = 10_000

// stats reads the kernel's own counters. Missing counters are zero.
func (l *linux) stats(running map[string]process) guest.Stats {
	s := guest.Stats{At: time.Now()}
	s.Pod = guest.PodStats{CPUs: runtime.NumCPU(), CPUMicros: cpuMicros(readText("/proc/stat"))}
	memory := fields(readText("/proc/meminfo"), ":")
	const kib = 1 << 10
	s.Pod.MemoryTotal, s.Pod.MemoryAvailable = memory["MemTotal"]*kib, memory["MemAvailable"]*kib
	s.Pod.MemoryCached = (memory["Cached"] + memory["Buffers"]) * kib
	s.Pod.OOMKills = fields(readText("/proc/vmstat"), "")["oom_kill"]
	s.Pod.Pressure = guest.Pressure{CPU: pressure("cpu"), Memory: pressure("memory"), IO: pressure("io")}
	if l.netDevice() != "" {
		count := func(name string) uint64 {
			return number(readText("/sys/class/net/" + l.netDevice() + "/statistics/" + name))
		}
		s.Pod.RxBytes, s.Pod.TxBytes = count("rx_bytes"), count("tx_bytes")
		s.Pod.RxPackets, s.Pod.TxPackets = count("rx_packets"), count("tx_packets")
	}
	for name, p := range running {
		if k, ok := p.(*child); ok {
			s.Containers = append(s.Containers, k.group.stats(name))
		}
	}
	mounted := l.fileSystems()
	devices, _ := filepath.Glob("/sys/block/vd*")
	for _, dir := range devices {
		serial := strings.TrimSpace(readText(filepath.Join(dir, "serial")))
		n := strings.Fields(readText(filepath.Join(dir, "stat")))
		if serial == "" || len(n) < 7 {
			continue
		}
		s.Disks = append(s.Disks, guest.DiskStats{
			Serial: serial, Reads: number(n[0]), ReadBytes: number(n[2]) * sectorBytes, Writes: number(n[4]), WriteBytes: number(n[6]) * sectorBytes,
			FileSystem: mounted[serial],
		})
	}
	return s
}

// fileSystems returns how full the file systems of the volumes and of the scratch disk are, by the serials of the disks.
func (l *linux) fileSystems() map[string]*guest.FileSystemStats {
	l.mu.Lock()
	volumes, scratch := slices.Clone(l.volumes), l.spec.ScratchSerial
	l.mu.Unlock()
	all := map[string]*guest.FileSystemStats{}
	for _, v := range volumes {
		all[v.Serial] = v.Usage()
	}
	if scratch != "" {
		all[scratch] = disks.Usage(scratchDir)
	}
	return all
}

// netDevice returns the pod's only network card.
func (l *linux) netDevice() string {
	cards, _ := filepath.Glob("/sys/class/net/e*")
	if len(cards) == 0 {
		return ""
	}
	return filepath.Base(cards[0])
}

func (c cgroup) stats(name string) guest.ContainerStats {
	read := func(file string) string { return readText(filepath.Join(c.dir, file)) }
	return guest.ContainerStats{
		Name: name, CPUMicros: fields(read("cpu.stat"), "")["usage_usec"], MemoryBytes: number(read("memory.current")),
		MemoryCached: fields(read("memory.stat"), "")["file"], Processes: number(read("pids.current")), OOMKills: uint64(c.oomKills()),
	}
}

// cpuMicros adds up the time of all processors in /proc/stat, except idle and iowait.
func cpuMicros(stat string) uint64 {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal guest guest_nice
	if len(f) < 8 || f[0] != "cpu" {
		return 0
	}
	return (number(f[1]) + number(f[2]) + number(f[3]) + number(f[6]) + number(f[7])) * microsPerTick
}

// pressure reads the average of ten seconds, in hundredths of a percent.
func pressure(of string) *int {
	line, _, _ := strings.Cut(readText("/proc/pressure/"+of), "\n")
	_, rest, ok := strings.Cut(line, "avg10=")
	if !ok {
		return nil
	}
	text, _, _ := strings.Cut(rest, " ")
	share, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	n := int(share * 100)
	return &n
}

// fields reads lines that consist of a name and a number.
func fields(text, colon string) map[string]uint64 {
	all := map[string]uint64{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 {
			all[strings.TrimSuffix(f[0], colon)] = number(f[1])
		}
	}
	return all
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	return n
}

func readText(path string) string {
	b, _ := os.ReadFile(path)
	return string(bytes.ToValidUTF8(b, nil))
}
