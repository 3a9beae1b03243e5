// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"iter"
	"net/http"

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

// Stats returns what a running pod uses at the moment.
func (p Pods) Stats(ctx context.Context, id uuid.UUID) (openapi.PodStats, error) {
	return Decode[openapi.PodStats](p.c.api.GetPodStats(ctx, id))
}

// Placement returns the scheduler's last decision about a pod and its reasons.
func (p Pods) Placement(ctx context.Context, id uuid.UUID) (openapi.Placement, error) {
	return Decode[openapi.Placement](p.c.api.GetPodPlacement(ctx, id))
}
