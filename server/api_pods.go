package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	"husk"
	"husk/openapi"
	"husk/store"
)

const (
	defaultLimit       = 100
	maxLimit           = 1000
	defaultGracePeriod = 30 // seconds, as in Kubernetes
	// maxSpecBytes bounds what a pod hands to its guest: argument vectors, environments and files together.
	maxSpecBytes = 512 << 10
)

func pageOf(limit *openapi.Limit, cursor *openapi.Cursor) store.Page {
	p := store.Page{Limit: defaultLimit, Cursor: valueOf(cursor)}
	if limit != nil {
		p.Limit = *limit
	}
	return p
}

// listed recasts a page for the wire.
func listed[To, From any](items []From, next string) ([]To, *string, error) {
	out, err := openapi.Recast[[]To](items)
	if next == "" {
		return out, nil, err
	}
	return out, &next, err
}

// CreatePod accepts an order for a pod.
func (a api) CreatePod(ctx context.Context, r openapi.CreatePodRequestObject) (openapi.CreatePodResponseObject, error) {
	req := requestOf(ctx)
	spec, err := openapi.Recast[husk.PodSpec](r.Body.Spec)
	if err != nil {
		return nil, err
	}
	if r.Body.Spec.TerminationGracePeriodSeconds == nil { // 0 is an answer too: no grace
		spec.GracePeriodSeconds = defaultGracePeriod
	}
	if err := completeSpec(&spec); err != nil {
		return nil, err
	}
	labels := labelsOf(r.Body.Labels)
	if err := completeScheduling(spec.Scheduling, labels); err != nil {
		return nil, err
	}
	pod, err := a.store.CreatePod(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), r.Body.Name, labels, spec)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.CreatePod201JSONResponse{Body: body, Headers: openapi.CreatePod201ResponseHeaders{ETag: tag(pod)}}, err
}

// ListPods lists or watches.
func (a api) ListPods(ctx context.Context, r openapi.ListPodsRequestObject) (openapi.ListPodsResponseObject, error) {
	tenant := tenantOf(ctx)
	filter, err := filterOf(r.Params.Name, r.Params.LabelSelector)
	if err != nil {
		return nil, err
	}
	read := func(p store.Page) ([]husk.Pod, string, error) { return a.store.Pods(ctx, tenant, p, filter) }
	if valueOf(r.Params.Watch) {
		return watch[husk.Pod, openapi.Pod]{server: a.Server, ctx: ctx, tenant: tenant, hints: a.store.WatchTenant, read: read, id: func(p husk.Pod) store.ID { return p.ID }}, nil
	}
	pods, next, err := read(pageOf(r.Params.Limit, r.Params.Cursor))
	return ourList[husk.Pod]{pods, next}, err
}

// GetPod returns one pod.
func (a api) GetPod(ctx context.Context, r openapi.GetPodRequestObject) (openapi.GetPodResponseObject, error) {
	pod, err := a.store.Pod(ctx, tenantOf(ctx), r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.GetPod200JSONResponse{Body: body, Headers: openapi.GetPod200ResponseHeaders{ETag: tag(pod)}}, err
}

// DeletePod asks for a pod to be stopped and removed.
func (a api) DeletePod(ctx context.Context, r openapi.DeletePodRequestObject) (openapi.DeletePodResponseObject, error) {
	pod, err := a.store.DeletePod(ctx, tenantOf(ctx), r.PodID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Pod](pod)
	return openapi.DeletePod202JSONResponse{Body: body, Headers: openapi.DeletePod202ResponseHeaders{ETag: tag(pod)}}, err
}

func tenantOf(ctx context.Context) store.ID { return requestOf(ctx).caller.TenantID }

// tag is the ETag of an object as the store compares it with If-Match.
func tag(object any) *string { return new(husk.ETag(object)) }

// ourList is a page of a list that may be long. Its items are written in the vocabulary's own JSON form, which a test holds equal to
// the wire's, so that a thousand pods are not turned over twice on their way out.
type ourList[T any] struct {
	items []T
	next  string
}

// VisitListPodsResponse writes the page.
func (l ourList[T]) VisitListPodsResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(struct {
		Items      []T    `json:"items"`
		NextCursor string `json:"nextCursor,omitempty"`
	}{l.items, l.next})
}

func labelsOf(l *openapi.Labels) map[string]string {
	if l == nil || *l == nil {
		return map[string]string{}
	}
	return *l
}

// completeSpec fills in defaults and checks what the contract's schema cannot say.
func completeSpec(spec *husk.PodSpec) error {
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = husk.RestartAlways
	}
	volumes := map[string]bool{}
	volumeIDs := map[store.ID]bool{}
	for i, v := range spec.Volumes {
		if volumes[v.Name] {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].name", i), "two volumes are named %q", v.Name)
		}
		if volumeIDs[v.VolumeID] {
			return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("spec.volumes[%d].volumeId", i), "the volume is named twice")
		}
		volumes[v.Name], volumeIDs[v.VolumeID] = true, true
	}
	names := map[string]bool{}
	size := 0
	for i := range spec.Containers {
		c := &spec.Containers[i]
		field := fmt.Sprintf("spec.containers[%d]", i)
		if names[c.Name] {
			return husk.Errorf(husk.CodeInvalid, field+".name", "two containers are named %q", c.Name)
		}
		names[c.Name] = true
		if err := completeContainer(c, field, volumes); err != nil {
			return err
		}
		size += containerBytes(*c)
	}
	if size > maxSpecBytes {
		return husk.Errorf(husk.CodeTooLarge, "spec.containers", "arguments, environments and files come to %d bytes; %d are allowed", size, maxSpecBytes)
	}
	return nil
}

// completeScheduling fills in defaults and checks that the labels that rules go by are there.
func completeScheduling(s *husk.Scheduling, labels map[string]string) error {
	if s == nil {
		return nil
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		field := fmt.Sprintf("spec.scheduling.rules[%d]", i)
		if _, has := labels[r.Label]; r.Value == "" && !has {
			return husk.Errorf(husk.CodeInvalid, field+".label", "the pod has no label %q; give it one, or name the value that other pods have", r.Label)
		}
		if r.MaxSkew != 0 && r.Kind != husk.RuleSpread {
			return husk.Errorf(husk.CodeInvalid, field+".maxSkew", "only rules of kind %s have a skew", husk.RuleSpread)
		}
		if r.MaxSkew == 0 && r.Kind == husk.RuleSpread {
			r.MaxSkew = 1
		}
	}
	if d := s.Disruption; d != nil && d.Label != "" {
		if _, has := labels[d.Label]; !has {
			return husk.Errorf(husk.CodeInvalid, "spec.scheduling.disruption.label", "the pod has no label %q", d.Label)
		}
	}
	return nil
}

func completeContainer(c *husk.Container, field string, volumes map[string]bool) error {
	mounted := map[string]bool{}
	for j, m := range c.VolumeMounts {
		at := fmt.Sprintf("%s.volumeMounts[%d]", field, j)
		if !volumes[m.Volume] {
			return husk.Errorf(husk.CodeInvalid, at+".volume", "the pod has no volume named %q", m.Volume)
		}
		if err := cleanPath(m.MountPath, at+".mountPath"); err != nil {
			return err
		}
		if mounted[m.MountPath] {
			return husk.Errorf(husk.CodeInvalid, at+".mountPath", "two volumes are mounted at %s", m.MountPath)
		}
		mounted[m.MountPath] = true
	}
	for j := range c.Files {
		f := &c.Files[j]
		at := fmt.Sprintf("%s.files[%d]", field, j)
		if err := cleanPath(f.Path, at+".path"); err != nil {
			return err
		}
		if f.Content != "" && f.ContentBase64 != "" {
			return husk.Errorf(husk.CodeInvalid, at, "give content or contentBase64, not both")
		}
		if _, err := base64.StdEncoding.DecodeString(f.ContentBase64); err != nil {
			return husk.Errorf(husk.CodeInvalid, at+".contentBase64", "this is not base64")
		}
		if f.Mode == "" {
			f.Mode = "0644"
		}
	}
	if c.StdinOnce && !c.Stdin {
		return husk.Errorf(husk.CodeInvalid, field+".stdinOnce", "there is no input that could end once; say stdin as well, or leave stdinOnce out")
	}
	texts := append(append([]string{c.WorkingDir, c.User}, c.Command...), c.Args...)
	for _, e := range c.Env {
		texts = append(texts, e.Name, e.Value)
	}
	for _, text := range texts {
		if strings.ContainsRune(text, 0) {
			return husk.Errorf(husk.CodeInvalid, field, "a zero byte cannot be part of an argument, variable, user or directory")
		}
	}
	return nil
}

func cleanPath(p, field string) error {
	if path.Clean(p) != p || p == "/" || strings.ContainsRune(p, 0) {
		return husk.Errorf(husk.CodeInvalid, field, "the path must be absolute, without '..', '//' or a slash at its end, and not the root")
	}
	return nil
}

func containerBytes(c husk.Container) int {
	n := 0
	for _, s := range append(append([]string{}, c.Command...), c.Args...) {
		n += len(s)
	}
	for _, e := range c.Env {
		n += len(e.Name) + len(e.Value)
	}
	for _, f := range c.Files {
		n += len(f.Path) + len(f.Content) + len(f.ContentBase64)
	}
	return n
}
