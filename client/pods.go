// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
)

// Pods are virtual machines that run containers.
type Pods struct{ c *Client }

// Create creates a pod. The images of its containers must have been imported; see [Images.Import].
func (p Pods) Create(ctx context.Context, pod openapi.PodCreate) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.CreatePod(ctx, &openapi.CreatePodParams{IdempotencyKey: newKey()}, pod))
}

// DryRun checks whether [Pods.Create] would succeed, and returns the pod as it would be created. Nothing is stored. Images and volumes that do
// not exist are no error.
func (p Pods) DryRun(ctx context.Context, pod openapi.PodCreate) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.CreatePod(ctx, &openapi.CreatePodParams{DryRun: new(true)}, pod))
}

// Get returns a pod.
func (p Pods) Get(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.GetPod(ctx, id))
}

// Find returns a pod by its name or its ID.
func (p Pods) Find(ctx context.Context, nameOrID string) (openapi.Pod, error) {
	return find(nameOrID, "pod", IsName,
		func(id uuid.UUID) (openapi.Pod, error) { return p.Get(ctx, id) },
		pages[openapi.Pod](func(_ *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
			return p.c.api.ListPods(ctx, &openapi.ListPodsParams{Cursor: cursor, Name: &nameOrID})
		}))
}

// List yields the tenant's pods.
func (p Pods) List(ctx context.Context, which Select) iter.Seq2[openapi.Pod, error] {
	return pages[openapi.Pod](func(limit *openapi.Limit, cursor *openapi.Cursor) (*http.Response, error) {
		return p.c.api.ListPods(ctx, &openapi.ListPodsParams{Limit: limit, Cursor: cursor, LabelSelector: given(which.Labels)})
	})
}

// Watch yields the tenant's pods and then their changes, until ctx ends.
func (p Pods) Watch(ctx context.Context, o WatchOptions) iter.Seq2[Change[openapi.Pod], error] {
	w := watcher[openapi.Pod]{kind: "pod", id: func(p openapi.Pod) string { return p.ID.String() }, open: func(ctx context.Context) (*http.Response, error) {
		return p.c.api.ListPods(ctx, &openapi.ListPodsParams{Watch: new(true), LabelSelector: given(o.Labels)})
	}}
	return w.changes(ctx, o)
}

// Wait reads the pod until done returns true or an error. ctx bounds how long that may take.
func (p Pods) Wait(ctx context.Context, id uuid.UUID, done func(openapi.Pod) (bool, error)) (openapi.Pod, error) {
	return wait(ctx, func() (openapi.Pod, error) { return p.Get(ctx, id) }, done)
}

// Delete starts the deletion of a pod. [Pods.Get] still returns the pod until it has stopped and is deleted.
func (p Pods) Delete(ctx context.Context, id uuid.UUID) error {
	return done(p.c.api.DeletePod(ctx, id, nil))
}

// History returns what a pod has used since a time, within the last day.
func (p Pods) History(ctx context.Context, id uuid.UUID, since time.Time) ([]openapi.StatsPoint, error) {
	h, err := Decode[openapi.PodStatsHistory](p.c.api.GetPodStatsHistory(ctx, id, &openapi.GetPodStatsHistoryParams{Since: &since}))
	return h.Points, err
}

// Stats returns what a running pod uses at the moment.
func (p Pods) Stats(ctx context.Context, id uuid.UUID) (openapi.PodStats, error) {
	return Decode[openapi.PodStats](p.c.api.GetPodStats(ctx, id))
}

// Placement returns the scheduler's last decision about a pod and its reasons.
func (p Pods) Placement(ctx context.Context, id uuid.UUID) (openapi.Placement, error) {
	return Decode[openapi.Placement](p.c.api.GetPodPlacement(ctx, id))
}

// Update changes the name, the labels or the annotations of a pod. What is left out stays as it is, and a label that is nil is removed.
func (p Pods) Update(ctx context.Context, id uuid.UUID, change openapi.PodUpdate) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.UpdatePod(ctx, id, nil, change))
}

// Resize changes the cpu and the memory of a pod, also while it runs. What is left out stays as it is. With dryRun, nothing is stored.
func (p Pods) Resize(ctx context.Context, id uuid.UUID, size openapi.PodResize, dryRun bool) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.ResizePod(ctx, id, &openapi.ResizePodParams{DryRun: &dryRun}, size))
}

// Stop stops a pod. It is Stopped when [Pods.Wait] says so, and stays so until [Pods.Start].
func (p Pods) Stop(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.StopPod(ctx, id, nil))
}

// Start starts a pod that is stopped or has ended.
func (p Pods) Start(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.StartPod(ctx, id, nil))
}

// Restart stops a pod and starts it again.
func (p Pods) Restart(ctx context.Context, id uuid.UUID) (openapi.Pod, error) {
	return Decode[openapi.Pod](p.c.api.RestartPod(ctx, id, nil))
}

// Kill sends a signal to a container. An empty container is the pod's only one, and an empty signal is SIGKILL.
func (p Pods) Kill(ctx context.Context, id uuid.UUID, container, signal string) error {
	return done(p.c.api.KillPod(ctx, id, openapi.PodSignal{Container: given(container), Signal: given(signal)}))
}
