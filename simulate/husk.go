// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"fmt"

	"husk/scheduler"
)

// husk places with the scheduler library.
type husk struct {
	fleet   *scheduler.Fleet
	handles map[int]scheduler.Handle
	pod     scheduler.Pod
}

func newHusk(nodes []Node, gpus bool, params scheduler.Params) *husk {
	h := &husk{handles: map[int]scheduler.Handle{}}
	list := make([]scheduler.Node, len(nodes))
	for i, n := range nodes {
		list[i] = scheduler.Node{ID: fmt.Sprintf("%09d", i), Ready: true, Capacity: n.Capacity} // the id is the position in the file
		if gpus {
			list[i].Extra = []int{n.GPUs}
		}
	}
	h.fleet = scheduler.NewFleet(list, params)
	return h
}

func (h *husk) at(seconds float64) { h.fleet.At(seconds) }

func (h *husk) podOf(r *request) scheduler.Pod {
	p := scheduler.Pod{Size: r.size, Lifetime: r.hint}
	if r.gpus > 0 {
		p.Extra = []int{r.gpus}
	}
	return p
}

func (h *husk) place(batch []request, nodes []int32) {
	if len(batch) == 1 {
		h.pod = h.podOf(&batch[0])
		handle, ok := h.fleet.Place(&h.pod)
		h.record(&batch[0], handle, ok, &nodes[0])
		return
	}
	pods := make([]scheduler.Pod, len(batch))
	for i := range batch {
		pods[i] = h.podOf(&batch[i])
	}
	for i, handle := range h.fleet.PlaceBatch(pods) {
		h.record(&batch[i], handle, handle != scheduler.Unplaced, &nodes[i])
	}
}

func (h *husk) record(r *request, handle scheduler.Handle, ok bool, node *int32) {
	*node = -1
	if ok {
		*node = int32(h.fleet.NodeOf(handle))
		h.handles[r.id] = handle
	}
}

func (h *husk) release(id int) {
	h.fleet.Release(h.handles[id])
	delete(h.handles, id)
}
