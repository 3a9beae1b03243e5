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
	ids     map[scheduler.Handle]int
	pod     scheduler.Pod
}

func newHusk(nodes []Node, gpus bool, params scheduler.Params) *husk {
	h := &husk{handles: map[int]scheduler.Handle{}, ids: map[scheduler.Handle]int{}}
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
		h.handles[r.id], h.ids[handle] = handle, r.id
	}
}

func (h *husk) release(id int) {
	h.fleet.Release(h.handles[id])
	delete(h.ids, h.handles[id])
	delete(h.handles, id)
}

// makeRoom moves at most so many pods so that a pod that was refused fits, and places it.
func (h *husk) makeRoom(r *request, most int) (node int32, moved []relocation) {
	pod := h.podOf(r)
	at, moves, ok := h.fleet.MakeRoom(&pod, most, nil)
	if !ok {
		return -1, nil
	}
	moved = h.move(moves)
	handle, ok := h.fleet.PlaceOn(at, &pod)
	h.record(r, handle, ok, &node)
	return node, moved
}

// drain empties nodes with at most so many moves.
func (h *husk) drain(most int) (moved []relocation) {
	for _, f := range h.fleet.Defragment(most, func(int) bool { return true }) {
		moved = append(moved, h.move(f.Moves)...)
	}
	return moved
}

func (h *husk) move(moves []scheduler.Move) (moved []relocation) {
	for _, m := range moves {
		id := h.ids[m.Pod]
		handle, ok := h.fleet.Move(m.Pod, m.To)
		if !ok {
			continue
		}
		delete(h.ids, m.Pod)
		h.handles[id], h.ids[handle] = handle, id
		moved = append(moved, relocation{id, int32(m.To)})
	}
	return moved
}
