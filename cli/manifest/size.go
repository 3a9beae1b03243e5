// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"

	"husk/openapi"
)

type (
	kubernetesResources struct {
		Limits   kubernetesSize `json:"limits"`
		Requests kubernetesSize `json:"requests"`
	}
	kubernetesSize struct {
		CPU     cpuQuantity    `json:"cpu"`
		Memory  memoryQuantity `json:"memory"`
		Storage memoryQuantity `json:"ephemeral-storage"`
	}
)

// The size of a container without a limit and a request, and of a pod of such containers. husk run has the same default.
const (
	defaultCPUMillis = 500
	defaultMemoryMiB = 256
)

// The smallest and the largest virtual machine that the API accepts. A test compares them with the contract.
const (
	minCPUMillis = 50
	maxCPUMillis = 256_000
	minMemoryMiB = 32
	maxMemoryMiB = 4 << 20

	minLimitCPU    = 10 // of a container
	minLimitMemory = 16
)

// share is what one container contributes to the size of the virtual machine.
type share struct {
	limit, request int64
	at             string // the path of the resources
}

// tooMuch is more than the API accepts, and little enough for a sum of all containers.
const tooMuch = 1 << 40

func (s share) amount() int64 { return min(firstOf(s.limit, s.request), tooMuch) }

// dimension is one dimension of the size.
type dimension struct {
	name        string // in a document
	field       string // of the API's request
	least, most int64  // of the machine
	silent      int64  // for a container that says nothing
	unit        string
}

// sizeOfPod returns the size of the virtual machine: the pod's own limits, or the sum of the containers' limits. A container without a limit
// counts as large as its request.
func (t *translation) sizeOfPod() openapi.Resources {
	var cpu, memory []share
	ofPod := t.pod.Spec.Resources
	add := func(c kubernetesContainer, at string) {
		r := c.Resources
		cpu = append(cpu, share{int64(r.Limits.CPU), int64(r.Requests.CPU), at})
		memory = append(memory, share{mebibytes(r.Limits.Memory), mebibytes(r.Requests.Memory), at})
	}
	for i, c := range t.pod.Spec.Containers {
		add(c, fmt.Sprintf("spec.containers[%d].resources", i))
	}
	for i, c := range t.pod.Spec.InitContainers { // the others run when these have ended
		if isSidecar(c) {
			add(c, fmt.Sprintf("spec.initContainers[%d].resources", i))
		}
	}
	return openapi.Resources{
		CPUMillis: t.total(dimension{"cpu", "spec.resources.cpuMillis", minCPUMillis, maxCPUMillis, defaultCPUMillis, "thousandths of a core"},
			share{int64(ofPod.Limits.CPU), int64(ofPod.Requests.CPU), "spec.resources"}, cpu),
		MemoryMiB: t.total(dimension{"memory", "spec.resources.memoryMiB", minMemoryMiB, maxMemoryMiB, defaultMemoryMiB, "MiB"},
			share{mebibytes(ofPod.Limits.Memory), mebibytes(ofPod.Requests.Memory), "spec.resources"}, memory),
	}
}

// maxStorageGiB is the largest scratch disk that the API accepts, and defaultStorageGiB the one of a pod that asks for none.
const (
	maxStorageGiB     = 65_536
	defaultStorageGiB = 10
)

// storageOfPod returns the size of the disk that the containers share, or nil if none of them has a limit or a request.
func (t *translation) storageOfPod() *int {
	const gib = 1 << 30
	var sum, largest int64
	from, silent := "", false
	add := func(c kubernetesContainer, at string, initial bool) {
		s := share{int64(c.Resources.Limits.Storage), int64(c.Resources.Requests.Storage), at + ".resources"}
		n := (min(firstOf(s.limit, s.request), tooMuch*gib>>10) + gib - 1) / gib
		switch {
		case n == 0:
			silent = silent || !initial
			return
		case initial:
			sum = max(sum, n)
		default:
			sum += n
		}
		if n > largest {
			largest, from = n, originOf(dimension{name: "ephemeral-storage"}, s)
		}
	}
	for i, c := range t.pod.Spec.Containers {
		add(c, fmt.Sprintf("spec.containers[%d]", i), false)
	}
	for i, c := range t.pod.Spec.InitContainers {
		add(c, fmt.Sprintf("spec.initContainers[%d]", i), !isSidecar(c))
	}
	if sum == 0 {
		return nil
	}
	if silent {
		sum = max(sum, defaultStorageGiB)
	}
	t.origins["spec.ephemeralStorageGiB"] = from
	if sum > maxStorageGiB {
		t.refuse(from, "the largest disk has %d GiB, and the containers of this pod need %d", maxStorageGiB, sum)
	}
	size := int(sum)
	return &size
}

func (t *translation) total(d dimension, ofPod share, ofContainers []share) int {
	sum := ofPod.amount()
	from := originOf(d, ofPod)
	if sum == 0 {
		from = "spec.containers"
		var silent []string
		largest := int64(0)
		for _, s := range ofContainers {
			if s.amount() == 0 {
				silent = append(silent, s.at)
				continue
			}
			sum += s.amount()
			if s.amount() > largest {
				largest, from = s.amount(), originOf(d, s)
			}
		}
		if sum == 0 {
			sum, silent = d.silent, nil
		}
		for _, at := range silent {
			t.warn(at, "the virtual machine is as large as all containers together; this container has no limit and no request for %s, and counts with %d %s",
				d.name, d.silent, d.unit)
			sum += d.silent
		}
	}
	if n, at := t.initialNeed(d); n > sum {
		sum, from = n, at
	}
	t.origins[d.field] = from
	if sum < d.least {
		t.warn(from, "the smallest virtual machine has %d %s; the pod gets them", d.least, d.unit)
		sum = d.least
	}
	if sum > d.most {
		t.refuse(from, "the largest virtual machine has %d %s, and the containers of this pod need %d", d.most, d.unit, sum)
	}
	return int(sum)
}

func originOf(d dimension, s share) string {
	if s.limit > 0 {
		return s.at + ".limits." + d.name
	}
	return s.at + ".requests." + d.name
}

func isSidecar(c kubernetesContainer) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == openapi.Always
}

// initialNeed returns what the largest init container needs together with the sidecars before it.
func (t *translation) initialNeed(d dimension) (most int64, from string) {
	var sidecars int64
	for i, c := range t.pod.Spec.InitContainers {
		s := share{int64(c.Resources.Limits.CPU), int64(c.Resources.Requests.CPU), fmt.Sprintf("spec.initContainers[%d].resources", i)}
		if d.name == "memory" {
			s.limit, s.request = mebibytes(c.Resources.Limits.Memory), mebibytes(c.Resources.Requests.Memory)
		}
		if n := sidecars + s.amount(); n > most {
			most, from = n, originOf(d, s)
		}
		if isSidecar(c) {
			sidecars += s.amount()
		}
	}
	return most, from
}

// limits returns the limits of a container that has less than the virtual machine.
func (t *translation) limits(c *kubernetesContainer) *openapi.Limits {
	cpu, memory := int(min(int64(c.Resources.Limits.CPU), maxCPUMillis)), int(min(mebibytes(c.Resources.Limits.Memory), maxMemoryMiB))
	var out openapi.Limits
	if cpu > 0 && cpu < t.size.CPUMillis {
		cpu = max(cpu, minLimitCPU)
		out.CPUMillis = &cpu
	}
	if memory > 0 && memory < t.size.MemoryMiB {
		memory = max(memory, minLimitMemory)
		out.MemoryMiB = &memory
	}
	if out == (openapi.Limits{}) {
		return nil
	}
	return &out
}

func mebibytes(q memoryQuantity) int64 {
	whole := int64(q) >> 20
	if int64(q)&(1<<20-1) > 0 {
		whole++
	}
	return whole
}
