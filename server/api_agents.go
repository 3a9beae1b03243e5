package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/pki"
	"husk/store"
)

// RegisterNode admits a node by its join token. Of the token only the secret counts here; the rest is for the agent.
func (a api) RegisterNode(ctx context.Context, r openapi.RegisterNodeRequestObject) (openapi.RegisterNodeResponseObject, error) {
	secret, _, err := pki.SplitJoinToken(r.Body.Token)
	if err != nil {
		return nil, husk.Errorf(husk.CodeUnauthenticated, "token", "%s", err)
	}
	id, c, err := a.store.RegisterNode(ctx, secret, r.Body.Name, a.issuer(r.Body.CertificateRequest))
	if err != nil {
		return nil, err
	}
	a.log.Info("admitted a node", "node", id, "name", r.Body.Name, "serial", c.Serial, "expires_at", c.ExpiresAt)
	return openapi.RegisterNode201JSONResponse{NodeID: id, Certificate: c.PEM, Authority: a.authority.Root().PEM()}, nil
}

// Heartbeat renews the lease of the node whose certificate this is.
func (a api) Heartbeat(ctx context.Context, r openapi.HeartbeatRequestObject) (openapi.HeartbeatResponseObject, error) {
	resync, err := a.store.Heartbeat(ctx, husk.Node{
		ID: requestOf(ctx).caller.NodeID, Capacity: husk.Resources(r.Body.Capacity), VMMOverheadMiB: r.Body.VmmOverheadMiB,
		Endpoint: r.Body.Endpoint,
	})
	return openapi.Heartbeat200JSONResponse{
		LeaseSeconds: int(a.cfg.Lease.Seconds()), HeartbeatSeconds: int(a.cfg.Heartbeat.Seconds()), Resync: resync,
	}, err
}

// GetDesiredState answers as soon as the node's desired state is newer than the one the agent knows.
func (a api) GetDesiredState(ctx context.Context, r openapi.GetDesiredStateRequestObject) (openapi.GetDesiredStateResponseObject, error) {
	node := requestOf(ctx).caller.NodeID
	after := int64(-1)
	if r.Params.After != nil {
		after = *r.Params.After
	}
	hint, done := a.store.WatchNode(node)
	defer done()
	timeout := time.After(time.Duration(valueOf(r.Params.WaitSeconds)) * time.Second)
	for waiting := true; waiting; {
		revision, err := a.store.DesiredRevision(ctx, node)
		if err != nil {
			return nil, err
		}
		if revision > after {
			break
		}
		select {
		case <-hint:
		case <-timeout:
			waiting = false
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// The answer has the keys of the node's disks, and the certificate may have been revoked during the wait.
	if err := a.store.AuthenticateNode(ctx, node, requestOf(ctx).certificate); err != nil {
		return nil, err
	}
	revision, pods, err := a.store.Desired(ctx, node)
	if err != nil {
		return nil, err
	}
	state := husk.DesiredState{Revision: revision, Pods: []husk.DesiredPod{}}
	for _, p := range pods {
		desired, err := a.desiredPod(p)
		if err != nil {
			return nil, fmt.Errorf("desired state of pod %s: %w", p.Pod.ID, err)
		}
		state.Pods = append(state.Pods, desired)
	}
	return openapi.Recast[openapi.GetDesiredState200JSONResponse](state)
}

// ReportStatus records what the agent says about pods of its own node.
func (a api) ReportStatus(ctx context.Context, r openapi.ReportStatusRequestObject) (openapi.ReportStatusResponseObject, error) {
	reports, err := openapi.Recast[[]husk.PodReport](r.Body.Pods)
	if err != nil {
		return nil, err
	}
	node := requestOf(ctx).caller.NodeID
	if r.Body.Runs != nil { // first: a report may be a pod's last, and its row goes with it
		runs, err := openapi.Recast[[]husk.MachineRun](*r.Body.Runs)
		if err != nil {
			return nil, err
		}
		misdated, err := a.store.RecordRuns(ctx, node, runs)
		if err != nil {
			return nil, err
		}
		a.clocks.warn(a.log, node, misdated, time.Now())
	}
	return openapi.ReportStatus204Response{}, a.store.Report(ctx, node, reports)
}

// ReportSamples keeps what the agent says that pods of its own node use.
func (a api) ReportSamples(ctx context.Context, r openapi.ReportSamplesRequestObject) (openapi.ReportSamplesResponseObject, error) {
	samples, err := openapi.Recast[[]husk.PodSample](r.Body.Pods)
	if err != nil {
		return nil, err
	}
	return openapi.ReportSamples204Response{}, a.store.RecordSamples(ctx, requestOf(ctx).caller.NodeID, samples)
}

// desiredPod resolves a pod for its node: images to disks, image configuration and pod to one argument vector and environment.
func (s *Server) desiredPod(p store.DesiredPod) (husk.DesiredPod, error) {
	cidr, err := netip.ParsePrefix(p.Network.CIDR)
	if err != nil {
		return husk.DesiredPod{}, err
	}
	address, err := netip.ParseAddr(p.Pod.Status.Address)
	if err != nil {
		return husk.DesiredPod{}, err
	}
	d := husk.DesiredPod{
		ID: p.Pod.ID, TenantID: p.Pod.TenantID, Name: p.Pod.Name, Generation: p.Pod.Generation, State: desiredStateOf(p.Pod.Status.Phase),
		Resources: p.Pod.Spec.Resources, VMMOverheadMiB: p.Pod.Status.VMMOverheadMiB, RestartPolicy: p.Pod.Spec.RestartPolicy,
		GracePeriodSeconds: p.Pod.Spec.GracePeriodSeconds,
		Network: husk.DesiredNetwork{
			ID: p.Network.ID, MAC: p.Network.MAC, Gateway: cidr.Masked().Addr().Next().String(),
			Address: netip.PrefixFrom(address, cidr.Bits()).String(),
		},
		Ceph:  husk.CephAccess{Monitors: s.cfg.CephMonitors, User: podCephUser(p.Pod.ID), Key: p.CephKey},
		Disks: []husk.DesiredDisk{}, Containers: []husk.DesiredContainer{}, Volumes: []husk.DesiredVolume{},
	}
	attached := map[store.ID]bool{}
	for _, c := range p.Pod.Spec.Containers {
		image, ok := p.Images[c.Name]
		if !ok {
			return husk.DesiredPod{}, fmt.Errorf("container %q has no image", c.Name)
		}
		if !attached[image.ID] {
			attached[image.ID] = true
			d.Disks = append(d.Disks, husk.DesiredDisk{
				Pool: s.cfg.VolumesPool, Name: husk.Image{ID: image.ID}.CloneName(), Serial: serialOf("img", image.ID), ReadOnly: true,
			})
		}
		d.Containers = append(d.Containers, desiredContainer(c, image))
	}
	for _, v := range p.Pod.Spec.Volumes {
		d.Disks = append(d.Disks, husk.DesiredDisk{
			Pool: s.cfg.VolumesPool, Name: husk.Volume{ID: v.VolumeID}.RBDName(), Serial: serialOf("vol", v.VolumeID),
		})
		d.Volumes = append(d.Volumes, husk.DesiredVolume{Name: v.Name, Serial: serialOf("vol", v.VolumeID)})
	}
	return d, nil
}

func desiredStateOf(phase husk.Phase) husk.DesiredPodState {
	switch phase {
	case husk.PhaseStopping:
		return husk.DesiredGone
	case husk.PhaseSucceeded, husk.PhaseFailed:
		return husk.DesiredFinished
	default:
		return husk.DesiredRunning
	}
}

// serialOf is a disk's serial: virtio-blk has room for 20 characters, so it carries 64 bits of the id.
func serialOf(kind string, id uuid.UUID) string {
	return kind + strings.ReplaceAll(id.String(), "-", "")[:16]
}

// desiredContainer merges the image's configuration with the pod's overrides, as Kubernetes does: a command replaces the entrypoint
// and drops the image's arguments, arguments alone replace only those.
func desiredContainer(c husk.Container, image store.DesiredImage) husk.DesiredContainer {
	args := slices.Concat(image.Config.Entrypoint, image.Config.Cmd)
	switch {
	case c.Command != nil:
		args = slices.Concat(c.Command, c.Args)
	case c.Args != nil:
		args = slices.Concat(image.Config.Entrypoint, c.Args)
	}
	d := husk.DesiredContainer{
		Name: c.Name, ImageSerial: serialOf("img", image.ID), Args: args, Env: mergeEnv(image.Config.Env, c.Env),
		WorkingDir: c.WorkingDir, User: c.User, StopSignal: image.Config.StopSignal, Files: c.Files, VolumeMounts: c.VolumeMounts,
		Stdin: c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY,
	}
	if d.Args == nil {
		d.Args = []string{}
	}
	if d.WorkingDir == "" {
		d.WorkingDir = image.Config.WorkingDir
	}
	if d.User == "" {
		d.User = image.Config.User
	}
	if d.Files == nil {
		d.Files = []husk.File{}
	}
	if d.VolumeMounts == nil {
		d.VolumeMounts = []husk.VolumeMount{}
	}
	return d
}

// mergeEnv lays the pod's variables over the image's. A PATH is always there, as Docker does it.
func mergeEnv(image []string, pod []husk.EnvVar) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	set := func(name, value string) {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		env = append(env, name+"="+value)
	}
	for _, e := range image {
		if name, value, ok := strings.Cut(e, "="); ok && name != "" {
			set(name, value)
		}
	}
	for _, e := range pod {
		set(e.Name, e.Value)
	}
	return env
}
