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
		CPU    cpuQuantity    `json:"cpu"`
		Memory memoryQuantity `json:"memory"`
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
	minMemoryMiB = 96
	maxMemoryMiB = 4 << 20
)

// share is what one container contributes to the size of the virtual machine.
type share struct{ limit, request int64 }

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
	for _, c := range t.pod.Spec.Containers {
		r := c.Resources
		cpu = append(cpu, share{int64(r.Limits.CPU), int64(r.Requests.CPU)})
		memory = append(memory, share{mebibytes(r.Limits.Memory), mebibytes(r.Requests.Memory)})
	}
	return openapi.Resources{
		CPUMillis: t.total(dimension{"cpu", "spec.resources.cpuMillis", minCPUMillis, maxCPUMillis, defaultCPUMillis, "thousandths of a core"},
			share{int64(ofPod.Limits.CPU), int64(ofPod.Requests.CPU)}, cpu),
		MemoryMiB: t.total(dimension{"memory", "spec.resources.memoryMiB", minMemoryMiB, maxMemoryMiB, defaultMemoryMiB, "MiB"},
			share{mebibytes(ofPod.Limits.Memory), mebibytes(ofPod.Requests.Memory)}, memory),
	}
}

func (t *translation) total(d dimension, ofPod share, ofContainers []share) int {
	sum := ofPod.amount()
	from := originOf("spec.resources", d, ofPod)
	if sum == 0 {
		from = "spec.containers"
		var silent []string
		largest := int64(0)
		for i, s := range ofContainers {
			at := fmt.Sprintf("spec.containers[%d].resources", i)
			if s.amount() == 0 {
				silent = append(silent, at)
				continue
			}
			sum += s.amount()
			if s.amount() > largest {
				largest, from = s.amount(), originOf(at, d, s)
			}
		}
		if sum == 0 {
			t.origins[d.field] = from
			return int(d.silent)
		}
		for _, at := range silent {
			t.warn(at, "the virtual machine is as large as all containers together; this container has no limit and no request for %s, and counts with %d %s",
				d.name, d.silent, d.unit)
			sum += d.silent
		}
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

func originOf(at string, d dimension, s share) string {
	if s.limit > 0 {
		return at + ".limits." + d.name
	}
	return at + ".requests." + d.name
}

func mebibytes(q memoryQuantity) int64 {
	whole := int64(q) >> 20
	if int64(q)&(1<<20-1) > 0 {
		whole++
	}
	return whole
}
