// SPDX-License-Identifier: Apache-2.0

// Package convert converts rows of the database to the types of package husk.
package convert

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"husk"
	"husk/store/db"
)

// All converts each row.
func All[A, B any](from []A, convert func(A) B) []B {
	to := make([]B, 0, len(from))
	for _, a := range from {
		to = append(to, convert(a))
	}
	return to
}

// Last returns the last address of a range.
func Last(r netip.Prefix) netip.Addr {
	raw := r.Masked().Addr().AsSlice()
	for bit := r.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}

// User converts a row of users.
func User(u db.User) husk.User {
	out := husk.User{
		ID: u.ID, Issuer: u.Issuer, Email: u.Email, Name: u.Name, Role: u.Role, Mapped: u.Mapped, Disabled: u.Disabled,
		CreatedAt: u.CreatedAt, LastLoginAt: u.LastLoginAt,
	}
	if u.Subject != nil {
		out.Subject = *u.Subject
	}
	return out
}

// Scheduling decodes a pod's scheduling as the store has written it, which is always valid.
func Scheduling(raw []byte) (sched husk.Scheduling) {
	if raw != nil {
		if err := json.Unmarshal(raw, &sched); err != nil {
			panic(fmt.Sprintf("the scheduling of a pod in the database is invalid JSON: %v", err))
		}
	}
	return sched
}

// Pod converts a row of pods.
func Pod(p db.Pod) husk.Pod {
	spec := p.Spec
	if p.Scheduling != nil {
		spec.Scheduling = new(Scheduling(p.Scheduling))
	}
	spec.SecurityGroups = p.SecurityGroups
	interfaces := All(Interfaces(p), func(i husk.Interface) husk.PodInterface {
		shown := husk.PodInterface{Network: i.Network, Address: i.Address.Addr().String()}
		if i.Address6.IsValid() {
			shown.Address6 = i.Address6.Addr().String()
		}
		return shown
	})
	var machine *husk.Resources
	if p.MachineCpuMillis != nil && p.MachineMemoryMib != nil {
		if has := (husk.Resources{CPUMillis: *p.MachineCpuMillis, MemoryMiB: *p.MachineMemoryMib}); has != spec.Resources {
			machine = &has
		}
	}
	reason, message := p.Reason, p.Message
	if p.UnknownSince != nil {
		reason, message = husk.ReasonNodeLost, "node "+p.NodeName+" does not respond; this is what was known last"
	}
	return husk.Pod{
		ID: p.ID, TenantID: p.TenantID, Name: p.Name, Labels: p.Labels, Annotations: p.Annotations, Spec: spec, Generation: p.Generation,
		CreatedAt: p.CreatedAt, DeletionRequestedAt: p.DeletionRequestedAt,
		Status: husk.PodStatus{
			Phase: p.Phase, UnknownSince: p.UnknownSince, Reason: reason, Message: message, ObservedGeneration: p.ObservedGeneration, Address: p.Address.String(), Interfaces: interfaces,
			Outside: p.Outside, NodeName: p.NodeName, VMMOverheadMiB: p.VmmOverheadMib, Resources: machine, Restarts: p.Restarts, Containers: p.Containers,
			Timeline: husk.Timeline{
				AcceptedAt: p.CreatedAt, PlacedAt: p.PlacedAt, DomainStartingAt: p.DomainStartingAt, NetworkConnectedAt: p.NetworkConnectedAt, DomainStartedAt: p.DomainStartedAt,
				GuestReadyAt: p.GuestReadyAt, RunningAt: p.RunningAt,
			},
		},
	}.WithReadiness()
}

// Network converts a row of networks, with how many pods are in it.
func Network(r db.Network, pods int) husk.Network {
	n := husk.Network{ID: r.ID, Name: r.Name, Labels: r.Labels, CIDR: r.Cidr, Isolated: r.Isolated, CreatedAt: r.CreatedAt}
	if r.Ipv6Cidr != nil {
		n.IPv6CIDR = *r.Ipv6Cidr
	}
	n.Status = husk.NetworkStatus{Pods: pods, Addresses: n.Addresses()}
	if !n.Isolated {
		n.Status.Gateway = husk.Gateway(n.CIDR).String()
	}
	if r.OuterAddress != nil {
		n.Status.OuterAddress = r.OuterAddress.String()
	}
	return n
}

// Interfaces returns the interfaces of a pod. One that a server of the previous version has created has only an address in the default network.
func Interfaces(p db.Pod) []husk.Interface {
	if len(p.Interfaces) > 0 {
		return p.Interfaces
	}
	return []husk.Interface{{NetworkID: p.NetworkID, Network: husk.DefaultNetwork, Address: netip.PrefixFrom(p.Address, p.Address.BitLen()), MAC: p.Mac.String()}}
}

// Routed returns the address at which a pod is reached through routers. A pod that is only in isolated networks has none.
func Routed(p db.Pod) (netip.Addr, bool) {
	i, ok := husk.Routed(Interfaces(p))
	return i.Address.Addr(), ok
}

// Node converts a row of nodes.
func Node(n db.Node) husk.Node {
	node := husk.Node{
		ID: n.ID, Name: n.Name, State: n.State, Capacity: husk.Resources{CPUMillis: n.CpuMillis, MemoryMiB: n.MemoryMib},
		Allocated:            husk.Resources{CPUMillis: n.AllocatedCpuMillis, MemoryMiB: n.AllocatedMemoryMib},
		SchedulableCPUMillis: n.SchedulableCpuMillis,
		NodeSettings:         husk.NodeSettings{Labels: n.Labels, Taints: n.Taints, Cordoned: n.Cordoned},
		VMMOverheadMiB:       n.VmmOverheadMib, Capabilities: n.Capabilities, Endpoint: n.Endpoint, CreatedAt: n.CreatedAt, HeartbeatAt: n.HeartbeatAt,
		StateSince: n.StateSince, Message: n.FenceMessage, StorageAddress: n.StorageAddress, FenceAddresses: n.FenceAddresses, FencedAt: n.FencedAt,
		MachineOff: n.MachineOff, Clean: n.Clean,
		ScratchGiB: n.ScratchGib,
	}
	if n.Pool != nil {
		node.Pool = *n.Pool
	}
	return node
}

// WholeNode converts a row of nodes, with what its pods have in scratch disks, and whether it is being drained.
func WholeNode(r db.NodeRow) husk.Node {
	node := Node(r.Node)
	node.AllocatedScratchGiB = r.AllocatedScratchGib
	switch {
	case r.Drained:
		node.Drain = husk.DrainDrained
	case r.Drains:
		node.Drain = husk.DrainDraining
	}
	return node
}

// Volume converts a row of volumes, with the pod that claims it.
func Volume(v db.Volume, podID *uuid.UUID) husk.Volume {
	if podID != nil && v.State == husk.VolumeAvailable {
		v.State = husk.VolumeInUse
	}
	volume := husk.Volume{
		ID: v.ID, TenantID: v.TenantID, Name: v.Name, Labels: v.Labels, SizeGiB: v.SizeGib, FSType: v.FsType, Encrypted: v.KeyID != nil, State: v.State, Message: v.Message,
		PodID: podID, CreatedAt: v.CreatedAt, Flatten: v.Flatten,
	}
	if v.SnapshotMinutes > 0 {
		volume.Schedule, volume.NextAt = &husk.SnapshotSchedule{EveryMinutes: v.SnapshotMinutes, Keep: v.SnapshotKeep}, v.SnapshotNext
	}
	if v.State == husk.VolumeCreating && v.Flatten {
		volume.ProgressPercent = &v.Percent
	}
	if v.UploadUntil != nil && v.Message == "" {
		volume.Message = "its content is being uploaded"
	}
	if v.Class != nil {
		volume.Class = *v.Class
	}
	if v.SnapshotID != nil {
		volume.Source = &husk.VolumeSource{SnapshotID: *v.SnapshotID}
	}
	return volume
}

// Snapshot converts a row of snapshots.
func Snapshot(s db.Snapshot) husk.Snapshot {
	return husk.Snapshot{
		ID: s.ID, TenantID: s.TenantID, Name: s.Name, Labels: s.Labels, VolumeID: s.VolumeID, VolumeName: s.VolumeName, SizeGiB: s.SizeGib, FSType: s.FsType, Encrypted: s.KeyID != nil, State: s.State,
		Message: s.Message, ProgressPercent: s.Percent, Consistent: s.Consistent, Scheduled: s.Scheduled, TakenAt: s.TakenAt, CreatedAt: s.CreatedAt,
	}
}

// Event converts a row of events.
func Event(e db.Event) husk.Event {
	return husk.Event{ID: e.ID, Kind: e.Kind, ObjectID: e.ObjectID, Reason: e.Reason, Message: e.Message, At: e.At}
}

// AuditEntry converts a row of the audit log.
func AuditEntry(a db.Audit) husk.AuditEntry {
	return husk.AuditEntry{
		ID: a.ID, At: a.At, Operation: a.Operation, TenantID: a.TenantID, ObjectKind: a.ObjectKind, ObjectID: a.ObjectID,
		ActorKind: a.ActorKind, ActorID: a.ActorID, ActorName: a.ActorName, KeyID: a.KeyID, Address: a.Address, RequestID: a.RequestID, Detail: a.Detail,
	}
}

// Issuer converts a row of OIDC issuers.
func Issuer(i db.OidcIssuer) husk.OIDCIssuer {
	out := husk.OIDCIssuer{ID: i.ID, Name: i.Name, Issuer: i.Issuer, ClientID: i.ClientID, RoleMappings: i.RoleMappings, CreatedAt: i.CreatedAt}
	if i.TenantID != nil {
		out.TenantID = *i.TenantID
	}
	return out
}

// Tenant converts a row of tenants, with the range of its network.
func Tenant(t db.Tenant, cidr netip.Prefix) husk.Tenant {
	return husk.Tenant{
		ID: t.ID, Name: t.Name, NetworkCIDR: cidr.String(), CreatedAt: t.CreatedAt,
		Quota: Quota(t),
	}
}

// Image converts a row of images.
func Image(i db.Image) husk.Image {
	image := husk.Image{
		ID: i.ID, TenantID: i.TenantID, Reference: i.Reference, Digest: i.Digest, State: i.State, Message: i.Message, Config: i.Config,
		SizeBytes: i.SizeBytes, CreatedAt: i.CreatedAt, ReadyAt: i.ReadyAt,
	}
	// A server of the previous version does not clear the progress at the end of an import.
	if i.State == husk.ImageImporting && i.FetchedBytes != nil && i.TotalBytes != nil {
		image.Progress = &husk.ImportProgress{FetchedBytes: *i.FetchedBytes, TotalBytes: *i.TotalBytes}
	}
	return image
}

// NotNil returns an empty map instead of nil, which would be null in JSON.
func NotNil[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		m = map[K]V{}
	}
	return m
}

// Quota returns the limits in a row of tenants.
func Quota(t db.Tenant) husk.Quota {
	return husk.Quota{
		Pods: t.QuotaPods, CPUMillis: t.QuotaCpuMillis, MemoryMiB: t.QuotaMemoryMib, Volumes: t.QuotaVolumes, VolumeGiB: t.QuotaVolumeGib,
		Snapshots: t.QuotaSnapshots, Networks: t.QuotaNetworks, Addresses: t.QuotaFloating, Images: t.QuotaImages, Configs: t.QuotaConfigs, Services: t.QuotaServices, Ingresses: t.QuotaIngresses, SecurityGroups: t.QuotaSecurityGroups,
		VolumeClassGiB: t.QuotaVolumeClassGib, RequestsPerSecond: t.QuotaRequestsPerSecond, Priority: t.QuotaPriority, ScratchGiB: t.QuotaScratchGib,
	}
}

// ServiceAccount converts a row of service accounts.
func ServiceAccount(a db.ServiceAccount) husk.ServiceAccount {
	return husk.ServiceAccount{ID: a.ID, Name: a.Name, Role: a.Role, CreatedAt: a.CreatedAt}
}

// APIKey converts a row of API keys, without the secret.
func APIKey(k db.ApiKey) husk.APIKey {
	return husk.APIKey{
		ClientID: k.ClientID, Name: k.Name, ServiceAccountID: k.ServiceAccountID, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, LimitedTo: k.LimitedTo,
	}
}

// PlacedPod converts a row to a pod as operators see it.
func PlacedPod(r db.AllPodsRow) husk.PlacedPod {
	p := husk.PlacedPod{
		ID: r.ID, TenantID: r.TenantID, TenantName: r.TenantName, Name: r.Name, Phase: r.Phase, UnknownSince: r.UnknownSince, Reason: r.Reason,
		Resources: husk.Resources{CPUMillis: r.CpuMillis, MemoryMiB: r.MemoryMib}, VMMOverheadMiB: r.VmmOverheadMib, Priority: r.Priority, CreatedAt: r.CreatedAt,
	}
	if r.HoldsRoom {
		p.NodeID = r.NodeID
	}
	if r.UnknownSince != nil {
		p.Reason = husk.ReasonNodeLost
	}
	return p
}

// Selector returns a label selector as JSON for SQL; nil matches everything.
func Selector(s husk.Selector) []byte {
	if len(s) == 0 {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can always be encoded
	}
	return raw
}

// Decision converts the latest decision about a pod.
func Decision(row db.PodDecisionRow) (husk.Placement, error) {
	p := husk.Placement{Outcome: husk.PlacementUndecided}
	if row.Decision != nil {
		if err := json.Unmarshal(row.Decision, &p); err != nil {
			return husk.Placement{}, err
		}
	}
	if row.Phase == husk.PhasePending {
		p.Attempts, p.NextTryAt = row.Tries, row.NextTryAt
		if p.Outcome == husk.PlacementPlaced { // it was evicted since
			p = husk.Placement{Outcome: husk.PlacementUndecided}
		}
	} else {
		p.NodeName, p.DecidedAt = row.NodeName, row.PlacedAt
	}
	return p, nil
}
