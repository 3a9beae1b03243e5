// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"husk"
	"husk/openapi"
	"husk/server/podspec"
	"husk/server/request"
	"husk/server/watch"
	"husk/store"
	"husk/store/lifecycle"
	"husk/store/pools"
)

const defaultGracePeriod = 30 // seconds, as in Kubernetes

// CreatePod accepts a request for a pod.
func (a api) CreatePod(ctx context.Context, r openapi.CreatePodRequestObject) (openapi.CreatePodResponseObject, error) {
	req := request.Of(ctx)
	spec, err := openapi.Recast[husk.PodSpec](r.Body.Spec)
	if err != nil {
		return nil, err
	}
	if r.Body.Spec.TerminationGracePeriodSeconds == nil { // 0 is a valid value: no grace period
		spec.GracePeriodSeconds = defaultGracePeriod
	}
	if err := podspec.Complete(&spec); err != nil {
		return nil, err
	}
	labels := labelsOf(r.Body.Labels)
	if err := podspec.CompleteScheduling(spec.Scheduling, labels); err != nil {
		return nil, err
	}
	pod, err := a.tenant(ctx).CreatePod(dryRun(ctx, r.Params.DryRun), req.Idempotency(r.Params.IdempotencyKey), r.Body.Name, labels, openapi.Value(r.Body.Annotations), spec)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.CreatePod201JSONResponse{Body: body, Headers: openapi.CreatePod201ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// dryRun returns a context in which the store keeps nothing, if the caller wants a dry run.
func dryRun(ctx context.Context, wanted *openapi.DryRun) context.Context {
	if openapi.Value(wanted) {
		return pools.DryRun(ctx)
	}
	return ctx
}

// ListPods lists or watches pods.
func (a api) ListPods(ctx context.Context, r openapi.ListPodsRequestObject) (openapi.ListPodsResponseObject, error) {
	tenant := a.tenant(ctx)
	filter, err := request.Filter(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	if openapi.Value(r.Params.Watch) {
		return watching[husk.Pod]{ctx, a.watches.pods, watch.Watch[husk.Pod]{Match: func(p husk.Pod) bool { return filter.Matches(p.Name, p.Labels) }}}, nil
	}
	pods, next, err := tenant.Pods(ctx, request.Page(r.Params.Limit, r.Params.Cursor), filter)
	for i := range pods {
		pods[i] = forCaller(request.Of(ctx).Caller, pods[i])
	}
	return &ourList[husk.Pod]{pods, next, request.Of(ctx).Hold}, err
}

// hidden stands for what a viewer must not see.
const hidden = "(hidden)"

// forCaller hides the values of environment variables and the contents of files from viewers, because they often are secrets.
func forCaller(caller husk.Caller, pod husk.Pod) husk.Pod {
	if caller.Role != husk.RoleViewer {
		return pod
	}
	return redactedPod(pod)
}

// redactedPod returns what viewers see.
func redactedPod(pod husk.Pod) husk.Pod {
	pod.Spec.InitContainers, pod.Spec.Containers = redacted(pod.Spec.InitContainers), redacted(pod.Spec.Containers)
	pod.Spec.Volumes = slices.Clone(pod.Spec.Volumes)
	for i := range pod.Spec.Volumes {
		parts := slices.Clone(pod.Spec.Volumes[i].Projected)
		for j := range parts {
			parts[j].Files = slices.Clone(parts[j].Files)
			for k := range parts[j].Files {
				if parts[j].Files[k].Content != "" {
					parts[j].Files[k].Content = hidden
				}
			}
		}
		pod.Spec.Volumes[i].Projected = parts
	}
	return pod
}

func redacted(containers []husk.Container) []husk.Container {
	containers = slices.Clone(containers)
	for i := range containers {
		c := &containers[i]
		c.Env, c.Files = slices.Clone(c.Env), slices.Clone(c.Files)
		for j := range c.Env {
			if c.Env[j].From == nil {
				c.Env[j].Value = hidden
			}
		}
		for j := range c.Files {
			c.Files[j].Content, c.Files[j].ContentBase64 = hidden, ""
		}
		for _, probe := range []**husk.Probe{&c.StartupProbe, &c.ReadinessProbe, &c.LivenessProbe} {
			if *probe != nil {
				*probe = new(**probe)
				(*probe).HTTPGet = withoutHeaders((*probe).HTTPGet)
			}
		}
		for _, hook := range []**husk.Hook{&c.PostStart, &c.PreStop} {
			if *hook != nil {
				*hook = new(**hook)
				(*hook).HTTPGet = withoutHeaders((*hook).HTTPGet)
			}
		}
	}
	return containers
}

// withoutHeaders returns the request with hidden values of its headers.
func withoutHeaders(get *husk.HTTPGet) *husk.HTTPGet {
	if get == nil {
		return nil
	}
	get = new(*get)
	get.Headers = slices.Clone(get.Headers)
	for i := range get.Headers {
		get.Headers[i].Value = hidden
	}
	return get
}

// ResizePod changes the size of a pod.
func (a api) ResizePod(ctx context.Context, r openapi.ResizePodRequestObject) (openapi.ResizePodResponseObject, error) {
	pod, err := a.tenant(ctx).ResizePod(dryRun(ctx, r.Params.DryRun), r.PodID, lifecycle.Size{CPUMillis: r.Body.CPUMillis, MemoryMiB: r.Body.MemoryMiB})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.ResizePod200JSONResponse{Body: body, Headers: openapi.ResizePod200ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// GetPod returns one pod.
func (a api) GetPod(ctx context.Context, r openapi.GetPodRequestObject) (openapi.GetPodResponseObject, error) {
	pod, err := a.tenant(ctx).Pod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](forCaller(request.Of(ctx).Caller, pod))
	return openapi.GetPod200JSONResponse{Body: body, Headers: openapi.GetPod200ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// DeletePod requests that a pod is stopped and removed.
func (a api) DeletePod(ctx context.Context, r openapi.DeletePodRequestObject) (openapi.DeletePodResponseObject, error) {
	pod, err := a.tenant(ctx).DeletePod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.DeletePod202JSONResponse{Body: body, Headers: openapi.DeletePod202ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// UpdatePod changes name, labels, annotations and security groups.
func (a api) UpdatePod(ctx context.Context, r openapi.UpdatePodRequestObject) (openapi.UpdatePodResponseObject, error) {
	pod, err := a.tenant(ctx).UpdatePod(ctx, r.PodID, lifecycle.Names{Name: r.Body.Name, Labels: openapi.Value(r.Body.Labels), Annotations: openapi.Value(r.Body.Annotations), SecurityGroups: r.Body.SecurityGroups})
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.UpdatePod200JSONResponse{Body: body, Headers: openapi.UpdatePod200ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// StopPod stops a pod until it is started.
func (a api) StopPod(ctx context.Context, r openapi.StopPodRequestObject) (openapi.StopPodResponseObject, error) {
	pod, err := a.tenant(ctx).StopPod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.StopPod202JSONResponse{Body: body, Headers: openapi.StopPod202ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// StartPod starts a pod that is stopped or has ended.
func (a api) StartPod(ctx context.Context, r openapi.StartPodRequestObject) (openapi.StartPodResponseObject, error) {
	pod, err := a.tenant(ctx).StartPod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.StartPod202JSONResponse{Body: body, Headers: openapi.StartPod202ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// RestartPod stops a pod and starts it again.
func (a api) RestartPod(ctx context.Context, r openapi.RestartPodRequestObject) (openapi.RestartPodResponseObject, error) {
	pod, err := a.tenant(ctx).RestartPod(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.RestartPod202JSONResponse{Body: body, Headers: openapi.RestartPod202ResponseHeaders{ETag: request.ETag(pod)}}, err
}

// ourList is a page of a potentially long list. It encodes the types of package husk directly, without converting them to the types of
// package openapi first. A test checks that both have the same JSON form.
type ourList[T any] struct {
	items []T
	next  string
	hold  func(bytes int) error
}

// VisitListPodsResponse writes the page.
func (l *ourList[T]) VisitListPodsResponse(w http.ResponseWriter) error {
	body, err := json.Marshal(struct {
		Items      []T    `json:"items"`
		NextCursor string `json:"nextCursor,omitempty"`
	}{l.items, l.next})
	if err != nil {
		return err
	}
	if err := l.hold(len(body)); err != nil {
		return err
	}
	l.items = nil // so that a client that reads slowly holds the response only
	w.Header().Set("Content-Type", "application/json")
	if _, err = w.Write(body); err != nil {
		return nil //nolint:nilerr // the client has disconnected
	}
	return nil
}

func labelsOf(l *openapi.Labels) map[string]string {
	if l == nil || *l == nil {
		return map[string]string{}
	}
	return *l
}

// forTenant removes from a decision what would reveal other tenants or the installation: how full the node is, how many nodes there are and why each is
// excluded, how much capacity is free, and the pods of other tenants.
func forTenant(p husk.Placement, tenant store.ID) husk.Placement {
	p.Score = nil
	if p.Refusal == nil {
		return p
	}
	shown := &husk.PlacementRefusal{NeverFits: p.Refusal.NeverFits}
	foreign := func(pod husk.PlacementPod) bool { return pod.TenantID != tenant }
	if !slices.ContainsFunc(p.Refusal.WouldMakeRoom, foreign) {
		shown.WouldMakeRoom = p.Refusal.WouldMakeRoom
	}
	p.Refusal = shown
	return p
}

// GetPodPlacement returns the scheduler's latest decision about a pod, as far as its tenant may see it.
func (a api) GetPodPlacement(ctx context.Context, r openapi.GetPodPlacementRequestObject) (openapi.GetPodPlacementResponseObject, error) {
	p, err := a.tenant(ctx).Decision(ctx, r.PodID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetPodPlacement200JSONResponse](forTenant(p, request.Of(ctx).Caller.TenantID))
}

// AdminGetPodPlacement returns the complete decision.
func (a api) AdminGetPodPlacement(ctx context.Context, r openapi.AdminGetPodPlacementRequestObject) (openapi.AdminGetPodPlacementResponseObject, error) {
	p, err := a.control.Decision(ctx, r.TenantID, r.PodID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.AdminGetPodPlacement200JSONResponse](p)
}
