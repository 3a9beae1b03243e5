// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/store"
	"husk/store/disks"
)

// bringTo brings a placed pod into a phase with the necessary events.
func (h fixture) bringTo(phase husk.Phase, node husk.Node, p husk.Pod) {
	h.t.Helper()
	switch phase {
	case husk.PhaseStarting:
	case husk.PhaseRunning:
		h.report(node.ID, p, husk.EventRunning)
	case husk.PhaseSucceeded:
		h.report(node.ID, p, husk.EventSucceeded)
	case husk.PhaseFailed:
		h.report(node.ID, p, husk.EventFailed)
	case husk.PhaseStopping:
		p, err := h.as(p.TenantID).DeletePod(h.t.Context(), p.ID)
		must(h.t, p, err)
	default:
		h.t.Fatalf("this test does not know how to bring a pod to %s", phase)
	}
	if got := h.phase(p); got != phase {
		h.t.Fatalf("the pod is %s, want %s", got, phase)
	}
}

func TestADeletedPodFreesCapacityAndVolumesOnce(t *testing.T) {
	t.Parallel()
	for _, phase := range husk.Phases {
		if phase == husk.PhasePending || phase == husk.PhaseStopped || phase == husk.PhaseGone {
			continue
		}
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			h := open(t)
			tenant, node := h.tenant(), h.node(3)
			image, volume := h.image(tenant), h.volume(tenant)
			pod, neighbour := h.createPod(tenant, specOf(image, volume)), h.createPod(tenant, specOf(image))
			h.place(node.ID, pod, neighbour)
			h.bringTo(phase, node, pod)
			revision, _, err := h.DesiredRevision(t.Context(), node.ID)
			must(t, revision, err)

			for range 2 { // a repeated deletion changes nothing
				gone, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
				if must(t, gone, err); gone.Status.Phase != husk.PhaseStopping || gone.Generation != 2 || gone.DeletionRequestedAt == nil || gone.Status.NodeName != node.Name {
					t.Errorf("the deletion responds with %+v", gone)
				}
			}
			after, _, err := h.DesiredRevision(t.Context(), node.ID)
			if must(t, after, err); phase != husk.PhaseStopping && after == revision {
				t.Error("the node's desired state does not change with the deletion")
			}
			held := phase != husk.PhaseSucceeded && phase != husk.PhaseFailed
			wantPods := 1
			if held {
				wantPods = 2 // until the node reports that the pod is gone
				_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), named("pod"), map[string]string{}, nil, specOf(image, volume))
				wantCode(t, err, husk.CodeVolumeInUse)
			}
			h.wantAllocated(node.ID, wantPods)

			for range 2 { // a repeated report has no effect
				h.report(node.ID, pod, husk.EventGone)
			}
			if got := h.phase(pod); got != husk.PhaseGone {
				t.Errorf("the pod is %s", got)
			}
			h.wantAllocated(node.ID, 1)
			h.createPod(tenant, specOf(image, volume))
			if holders, err := h.KeyHolders(t.Context(), &pod.ID); len(must(t, holders, err)) > 0 {
				t.Error("the pod still counts as a pod with a key")
			}
		})
	}
}

// wantAllocated checks that the allocation of a node is that of this many small pods.
func (h fixture) wantAllocated(node store.ID, pods int) {
	h.t.Helper()
	want := husk.Resources{CPUMillis: pods * small.CPUMillis, MemoryMiB: pods * (small.MemoryMiB + overhead)}
	if diff := cmp.Diff(want, h.getNode(node).Allocated); diff != "" {
		h.t.Errorf("the node's allocation is not that of %d pods (-want +got):\n%s", pods, diff)
	}
}

func TestAPendingPodIsDeletedImmediately(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image, volume := h.image(tenant), h.volume(tenant)
	pod := h.createPod(tenant, specOf(image, volume))
	gone, err := h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
	if must(t, gone, err); gone.Status.Phase != husk.PhaseStopping {
		t.Errorf("the deletion responds with %s, which is not in the contract", gone.Status.Phase)
	}
	if h.phase(pod) != husk.PhaseGone {
		t.Error("the pod still exists")
	}
	_, err = h.as(tenant.ID).DeletePod(t.Context(), pod.ID)
	wantCode(t, err, husk.CodeNotFound)
	_, err = h.as(tenant.ID).DeleteVolume(t.Context(), volume.ID)
	wantCode(t, err, "")
}

func TestAnEndedPodUsesNoQuotaWhileItIsDeleted(t *testing.T) {
	t.Parallel()
	h := open(t)
	quota := husk.DefaultQuota
	quota.CPUMillis, quota.MemoryMiB = 2*small.CPUMillis, 2*small.MemoryMiB
	tenant, node := h.tenantWith(quota), h.node(5)
	image := h.image(tenant)
	ended, running := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, ended, running)
	h.bringTo(husk.PhaseSucceeded, node, ended)
	h.bringTo(husk.PhaseStopping, node, ended)
	h.createPod(tenant, specOf(image))
	_, err := h.as(tenant.ID).CreatePod(t.Context(), once(), "one-more", map[string]string{}, nil, specOf(image))
	wantCode(t, err, husk.CodeQuotaExceeded)
	// A pod that is stopping still uses its quota.
	h.bringTo(husk.PhaseStopping, node, running)
	_, err = h.as(tenant.ID).CreatePod(t.Context(), once(), "one-more", map[string]string{}, nil, specOf(image))
	wantCode(t, err, husk.CodeQuotaExceeded)
	h.report(node.ID, running, husk.EventGone)
	h.createPod(tenant, specOf(image))
}

func TestAPlacementIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(h fixture, p *store.Placement)
		fails bool
	}{
		"by a leader of an earlier epoch": {func(h fixture, _ *store.Placement) { h.lead() }, false},
		"on a node that changed meanwhile": {func(h fixture, p *store.Placement) {
			h.heartbeat(husk.Node{ID: p.Node, Capacity: husk.Resources{CPUMillis: 9, MemoryMiB: 9}})
		}, false},
		"on a node that is lost": {func(h fixture, p *store.Placement) {
			_, _ = h.SetNodeState(h.t.Context(), h.epoch(), h.getNode(p.Node), husk.NodeLost)
			p.NodeVersion++
		}, false},
		"on a node that does not exist":       {func(_ fixture, p *store.Placement) { p.Node = uuid.New() }, false},
		"of a pod that was deleted meanwhile": {func(h fixture, p *store.Placement) { _, _ = h.as(p.Pod.TenantID).DeletePod(h.t.Context(), p.Pod.ID) }, false},
		"of a pod that is placed already": {func(h fixture, p *store.Placement) {
			h.place(h.node(1).ID, husk.Pod{ID: p.Pod.ID, TenantID: p.Pod.TenantID})
		}, false},
		"of a pod under another tenant": {func(h fixture, p *store.Placement) { p.Pod.TenantID = h.tenant().ID }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			tenant, node := h.tenant(), h.node(2)
			pod := h.createPod(tenant, specOf(h.image(tenant)))
			epoch := h.epoch()
			placement := store.Placement{Pod: keyOf(pod), Node: node.ID, NodeVersion: h.version(node.ID)}
			c.spoil(h, &placement)
			placed, err := h.CommitPlacements(t.Context(), epoch, []store.Placement{placement})
			if must(t, placed, err); len(placed) != 0 {
				t.Errorf("placed %v", placed)
			}
			h.wantAllocated(node.ID, 0)
		})
	}
}

// lead starts a new epoch, as if another server became leader.
func (h fixture) lead() {
	h.t.Helper()
	if _, err := h.connect(store.RoleControl).Exec(h.t.Context(), "UPDATE leadership SET epoch = epoch + 1"); err != nil {
		h.t.Fatal(err)
	}
}

func TestABatchIsPlacedOnlyOnUnchangedNodes(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	stays, changes := h.node(3), h.node(3)
	var batch []store.Placement
	for i := range 6 {
		node := stays
		if i%2 == 1 {
			node = changes
		}
		pod := h.createPod(tenant, specOf(image))
		batch = append(batch, store.Placement{Pod: keyOf(pod), Node: node.ID, NodeVersion: h.version(node.ID)})
	}
	gone, err := h.as(tenant.ID).DeletePod(t.Context(), batch[2].Pod.ID)
	must(t, gone, err)
	h.place(changes.ID, h.createPod(tenant, specOf(image)))
	placed, err := h.CommitPlacements(t.Context(), h.epoch(), batch)
	must(t, placed, err)
	if len(placed) != 2 {
		t.Errorf("placed %v, want the two remaining pods of the unchanged node", placed)
	}
	h.wantAllocated(stays.ID, 2)
	h.wantAllocated(changes.ID, 1)
	before, err := h.Desired(t.Context(), stays.ID, nil)
	if must(t, before, err); len(before.Changes) != 0 {
		t.Errorf("before the pods have keys, the node's desired state is %+v", before)
	}
	without := h.claim(store.PodKeyCreation, 10)
	if len(without) != 2 || !slices.Contains(placed, podOf(without[0])) || !slices.Contains(placed, podOf(without[1])) {
		t.Errorf("the pods without a key are %v, the placed pods are %v", without, placed)
	}
	if _, number, err := h.PodToKey(t.Context(), without[0]); err != nil || number != 1 {
		t.Errorf("the first placement of a pod has the number %d, %v", number, err)
	}
	for range 2 {
		if err := h.SetPodKeys(t.Context(), map[store.PlacementKey]string{{PodKey: placed[0], Number: 1}: "key", {PodKey: placed[1], Number: 1}: "key", {PodKey: placed[1], Number: 2}: "of another placement"}); err != nil {
			t.Fatal(err)
		}
	}
	after, err := h.Desired(t.Context(), stays.ID, nil)
	if must(t, after, err); after.Revision != before.Revision+2 {
		t.Errorf("setting two keys twice changed the revision from %d to %d", before.Revision, after.Revision)
	}
	for _, c := range after.Changes {
		p := c.Pod
		if p.CephKey != "key" || len(p.Images) != 1 || len(p.Interfaces) != 1 || p.Interfaces[0].Address.Masked().String() != tenant.NetworkCIDR || !strings.HasPrefix(p.Interfaces[0].MAC, "02:") {
			t.Errorf("the node's desired state has the pod %+v", p)
		}
	}
	if len(after.Changes) != 2 {
		t.Errorf("the node's desired state has %d pods", len(after.Changes))
	}
}

// The scheduler does not create such a batch. If it did, the database would refuse it.
func TestABatchAboveANodesCapacityIsRefusedCompletely(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	image := h.image(tenant)
	var batch []store.Placement
	for range 3 {
		batch = append(batch, store.Placement{Pod: keyOf(h.createPod(tenant, specOf(image))), Node: node.ID, NodeVersion: h.version(node.ID)})
	}
	if placed, err := h.CommitPlacements(t.Context(), h.epoch(), batch); err == nil || len(placed) != 0 {
		t.Errorf("placed %v, %v", placed, err)
	}
	h.wantAllocated(node.ID, 0)
}

func TestManySchedulersFillTheLastCapacityOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	image := h.image(tenant)
	version, epoch := h.version(node.ID), h.epoch()
	batch := make([]store.Placement, 20)
	for i := range batch {
		batch[i] = store.Placement{Pod: keyOf(h.createPod(tenant, specOf(image))), Node: node.ID, NodeVersion: version}
	}
	placed := make([]int, len(batch))
	for _, err := range concurrently(len(batch), func(i int) error {
		p, err := h.CommitPlacements(t.Context(), epoch, batch[i:i+1])
		placed[i] = len(p)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	total := 0
	for _, n := range placed {
		total += n
	}
	if total != 1 {
		t.Errorf("%d pods were placed with the last capacity", total)
	}
	h.wantAllocated(node.ID, 1)
}

func TestReportsThatAreLateOrForeignAreDropped(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node, other := h.tenant(), h.node(3), h.node(3)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.report(node.ID, pod, husk.EventRunning) // not placed yet
	if got := h.phase(pod); got != husk.PhasePending {
		t.Errorf("a report made an unplaced pod %s", got)
	}
	h.place(node.ID, pod)
	h.report(other.ID, pod, husk.EventFailed)
	if got := h.phase(pod); got != husk.PhaseStarting {
		t.Errorf("another node made the pod %s", got)
	}
	h.report(node.ID, husk.Pod{ID: uuid.New()}, husk.EventRunning)
	h.report(node.ID, pod, husk.EventGone) // the pod was not deleted
	if got := h.phase(pod); got != husk.PhaseStarting {
		t.Errorf("without a deletion, the agent's report made the pod %s", got)
	}
	h.report(node.ID, pod, husk.EventSucceeded)
	h.report(node.ID, pod, husk.EventRunning)
	if got := h.phase(pod); got != husk.PhaseSucceeded {
		t.Errorf("a late report made an ended pod %s", got)
	}
	h.bringTo(husk.PhaseStopping, node, pod)
	h.report(node.ID, pod, husk.EventStopping) // observes generation 2
	report := husk.PodReport{PodID: pod.ID, Generation: 1, Event: husk.EventStopping, Message: "late"}
	if err := h.Report(t.Context(), node.ID, []husk.PodReport{report}); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.as(tenant.ID).Pod(t.Context(), pod.ID); got.Status.Message != "" || got.Status.ObservedGeneration != 2 {
		t.Errorf("a report of an older generation was accepted: %+v", got.Status)
	}
}

// Every pair of phase and event, through the database.
func TestReportsFollowThePhaseTable(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image := h.image(tenant)
	for _, phase := range husk.Phases {
		if phase == husk.PhasePending || phase == husk.PhaseStopped || phase == husk.PhaseGone {
			continue
		}
		for _, e := range husk.PhaseEvents {
			if slices.Contains([]husk.PhaseEvent{husk.EventPlaced, husk.EventDelete, husk.EventFenced, husk.EventEvict, husk.EventRequeue, husk.EventHalt, husk.EventStop, husk.EventStart}, e) {
				continue // an agent cannot report it
			}
			node := h.node(1)
			pod := h.createPod(tenant, specOf(image))
			h.place(node.ID, pod)
			h.bringTo(phase, node, pod)
			want, ok := phase.Next(e)
			if !ok {
				want = phase
			}
			h.report(node.ID, pod, e)
			if got := h.phase(pod); got != want {
				t.Errorf("%s makes a pod that is %s %s, want %s", e, phase, got, want)
			}
			charged := 0
			if want.Holds() {
				charged = 1
			}
			h.wantAllocated(node.ID, charged)
		}
	}
}

func TestAReportIsStoredCompletely(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	h.place(node.ID, pod)
	at := func(s int) *time.Time { v := time.Date(2024, 5, 6, 7, 8, s, 9000, time.UTC); return &v }
	code := 3
	report := husk.PodReport{
		PodID: pod.ID, Generation: 1, Event: husk.EventFailed, Reason: "Exited", Message: "it ended", Restarts: 2,
		Containers:       []husk.ContainerStatus{{Name: "main", State: husk.ContainerExited, Reason: "Error", ExitCode: &code, Restarts: 4, StartedAt: at(5), FinishedAt: at(6)}},
		DomainStartingAt: at(1), DomainStartedAt: at(2), GuestReadyAt: at(3), RunningAt: at(4),
	}
	if err := h.Report(t.Context(), node.ID, []husk.PodReport{report}); err != nil {
		t.Fatal(err)
	}
	got, err := h.as(tenant.ID).Pod(t.Context(), pod.ID)
	must(t, got, err)
	want := husk.PodStatus{
		Phase: husk.PhaseFailed, Reason: "Exited", Message: "it ended", ObservedGeneration: 1, Address: pod.Status.Address, Interfaces: pod.Status.Interfaces, Outside: []husk.OutsideAddress{}, NodeName: node.Name,
		VMMOverheadMiB: overhead, Restarts: 2, Containers: report.Containers, Timeline: husk.Timeline{
			AcceptedAt: pod.CreatedAt, PlacedAt: got.Status.Timeline.PlacedAt, DomainStartingAt: at(1), DomainStartedAt: at(2), GuestReadyAt: at(3), RunningAt: at(4),
		},
	}
	if diff := cmp.Diff(want, got.Status); diff != "" {
		t.Errorf("the status (-want +got):\n%s", diff)
	}
}

// Messages of a guest are part of the node's report. They must not prevent the report about the
// node's other pods.
func TestAHostileMessageDoesNotPreventOtherReports(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	image := h.image(tenant)
	hostile, honest := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, hostile, honest)
	err := h.Report(t.Context(), node.ID, []husk.PodReport{
		{PodID: hostile.ID, Generation: 1, Event: husk.EventRunning, Message: "a\x00b\xff", Containers: []husk.ContainerStatus{{Name: "main", Message: "\x00\xfe" + strings.Repeat("x", 1<<20)}}},
		{PodID: honest.ID, Generation: 1, Event: husk.EventRunning},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []husk.Pod{hostile, honest} {
		if got := h.phase(p); got != husk.PhaseRunning {
			t.Errorf("the pod is %s", got)
		}
	}
	got, err := h.as(tenant.ID).Pod(t.Context(), hostile.ID)
	if must(t, got, err); got.Status.Message != "ab\uFFFD" || len(got.Status.Containers[0].Message) > 4200 {
		t.Errorf("the message is %q, and the container's message has %d bytes", got.Status.Message, len(got.Status.Containers[0].Message))
	}
}

func TestAReportThatCannotBeRecordedDoesNotAffectTheOthers(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(2)
	image := h.image(tenant)
	broken, honest := h.createPod(tenant, specOf(image)), h.createPod(tenant, specOf(image))
	h.place(node.ID, broken, honest)
	const tooMany = 1 << 40 // for the column
	err := h.Report(t.Context(), node.ID, []husk.PodReport{
		{PodID: broken.ID, Generation: 1, Event: husk.EventRunning, Restarts: tooMany}, {PodID: honest.ID, Generation: 1, Event: husk.EventRunning},
	})
	if failed, ok := errors.AsType[husk.ItemsError](err); !ok || len(failed) != 1 || failed[0] == nil {
		t.Errorf("the failures are %v, want one of item 0", err)
	}
	if got := h.phase(honest); got != husk.PhaseRunning {
		t.Errorf("the other pod is %s", got)
	}
}

func TestAPodWaitsForItsVolumeAndImage(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	image, err := h.as(tenant.ID).CreateImage(t.Context(), once(), "registry.example.com/slow:1", "sha256:1", husk.ImageConfig{Cmd: []string{"serve"}}, nil)
	must(t, image, err)
	volume, err := h.as(tenant.ID).CreateVolume(t.Context(), once(), "data", map[string]string{}, 1)
	must(t, volume, err)
	pod := h.createPod(tenant, specOf(image, volume))
	header := map[string][]byte{"order": {22}, "size": {0, 255}}
	waits := func() string {
		pending, err := h.PendingPods(t.Context(), 10)
		if must(t, pending, err); len(pending) != 1 {
			t.Fatalf("%d pods are pending", len(pending))
		}
		return pending[0].WaitsFor
	}
	if got := waits(); got != "volume data is not available yet" {
		t.Errorf("the pod waits for %q", got)
	}
	if err := h.VolumeMade(t.Context(), volume, "123", header); err != nil {
		t.Fatal(err)
	}
	if got := waits(); got != "image registry.example.com/slow:1 (Importing) is not imported" {
		t.Errorf("the pod waits for %q", got)
	}
	if err := h.ImageMade(t.Context(), image, 1, false, "456", header); err != nil {
		t.Fatal(err)
	}
	if got := waits(); got != "" {
		t.Errorf("the pod waits for %q", got)
	}
	got, _, err := h.PodToKey(t.Context(), store.Work{TenantID: tenant.ID, ObjectID: pod.ID})
	must(t, got, err)
	want := []disks.Disk{{Name: image.CloneName(), RBDID: "456", Header: header, Digest: "sha256:1"}, {Name: volume.RBDName(), RBDID: "123", Header: header, SizeGiB: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the disks (-want +got):\n%s", diff)
	}
}

func TestARefusalIsShownInThePodsStatus(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant := h.tenant()
	pod := h.createPod(tenant, specOf(h.image(tenant)))
	for range 2 {
		if err := h.Refuse(t.Context(), []store.Refusal{{Pod: keyOf(pod), Reason: "NoNode", Message: "none"}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.as(tenant.ID).Pod(t.Context(), pod.ID)
	if must(t, got, err); got.Status.Reason != "NoNode" || got.Status.Message != "none" {
		t.Errorf("the status is %+v", got.Status)
	}
	node := h.node(1)
	h.place(node.ID, pod)
	got, err = h.as(tenant.ID).Pod(t.Context(), pod.ID)
	if must(t, got, err); got.Status.Reason != "" || got.Status.Message != "" || got.Status.NodeName != node.Name {
		t.Errorf("the status of a placed pod is %+v", got.Status)
	}
	if err := h.Refuse(t.Context(), []store.Refusal{{Pod: keyOf(pod), Reason: "NoNode", Message: "late"}}); err != nil {
		t.Fatal(err)
	}
	if got, _ = h.as(tenant.ID).Pod(t.Context(), pod.ID); got.Status.Reason != "" {
		t.Error("a late refusal was written to a placed pod")
	}
	phases, _, err := h.PodPhases(t.Context())
	if diff := cmp.Diff(map[husk.Phase]int{husk.PhaseStarting: 1}, must(t, phases, err)); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// Many changes happen on one node at the same time. In any order, the allocation is correct in the
// end.
func TestTheAllocationIsCorrectAfterManySimultaneousChanges(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(50)
	image := h.image(tenant)
	pods := make([]husk.Pod, 20)
	for i := range pods {
		pods[i] = h.createPod(tenant, specOf(image))
	}
	h.place(node.ID, pods...)
	for _, err := range concurrently(4*len(pods), func(i int) error {
		p := pods[i%len(pods)]
		switch i / len(pods) {
		case 0:
			_, err := h.as(tenant.ID).DeletePod(t.Context(), p.ID)
			if husk.CodeOf(err) == husk.CodeNotFound {
				err = nil // already deleted
			}
			return err
		case 1:
			return h.Report(t.Context(), node.ID, []husk.PodReport{{PodID: p.ID, Generation: 1, Event: husk.EventFailed}})
		case 2:
			_, _, err := h.Heartbeat(t.Context(), store.Beat{Node: husk.Node{ID: node.ID, Capacity: node.Capacity, VMMOverheadMiB: overhead}})
			return err
		default:
			return h.Report(t.Context(), node.ID, []husk.PodReport{{PodID: p.ID, Generation: 2, Event: husk.EventGone}})
		}
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	left := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM pods WHERE holds_room")
	h.wantAllocated(node.ID, left)
	for _, p := range pods {
		h.report(node.ID, p, husk.EventGone)
	}
	h.wantAllocated(node.ID, 0)
	if n := queryOne[int](h, store.RoleControl, "SELECT count(*) FROM pods"); n != 0 {
		t.Errorf("%d pods still exist", n)
	}
}
