package store

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"husk"
	"husk/store/db"
)

func convertAll[A, B any](from []A, convert func(A) B) []B {
	to := make([]B, 0, len(from))
	for _, a := range from {
		to = append(to, convert(a))
	}
	return to
}

func userOf(u db.User) husk.User {
	out := husk.User{
		ID: u.ID, Issuer: u.Issuer, Email: u.Email, Name: u.Name, Role: u.Role, Mapped: u.Mapped, Disabled: u.Disabled,
		CreatedAt: u.CreatedAt, LastLoginAt: u.LastLoginAt,
	}
	if u.Subject != nil {
		out.Subject = *u.Subject
	}
	return out
}

// schedulingOf reads what the API has checked and the store has written.
func schedulingOf(raw []byte) (sched husk.Scheduling) {
	if raw != nil {
		if err := json.Unmarshal(raw, &sched); err != nil {
			panic(fmt.Sprintf("a pod's scheduling is no JSON of ours: %v", err))
		}
	}
	return sched
}

func podOf(p db.Pod) husk.Pod {
	return husk.Pod{
		ID: p.ID, TenantID: p.TenantID, Name: p.Name, Labels: p.Labels, Spec: p.Spec, Generation: p.Generation,
		CreatedAt: p.CreatedAt, DeletionRequestedAt: p.DeletionRequestedAt,
		Status: husk.PodStatus{
			Phase: p.Phase, Reason: p.Reason, Message: p.Message, ObservedGeneration: p.ObservedGeneration, Address: p.Address.String(),
			NodeName: p.NodeName, VMMOverheadMiB: p.VmmOverheadMib, Restarts: p.Restarts, Containers: p.Containers,
			Timeline: husk.Timeline{
				AcceptedAt: p.CreatedAt, PlacedAt: p.PlacedAt, DomainStartingAt: p.DomainStartingAt, DomainStartedAt: p.DomainStartedAt,
				GuestReadyAt: p.GuestReadyAt, RunningAt: p.RunningAt,
			},
		},
	}
}

// macOf derives a pod's MAC address from its id, so that it is the same for every start: locally administered, unicast.
func macOf(pod ID) net.HardwareAddr {
	h := sha256.Sum256(pod[:])
	return net.HardwareAddr{0x02, h[0], h[1], h[2], h[3], h[4]}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func nodeOf(n db.Node) husk.Node {
	node := husk.Node{
		ID: n.ID, Name: n.Name, State: n.State, Capacity: husk.Resources{CPUMillis: n.CpuMillis, MemoryMiB: n.MemoryMib},
		Allocated:            husk.Resources{CPUMillis: n.AllocatedCpuMillis, MemoryMiB: n.AllocatedMemoryMib},
		SchedulableCPUMillis: n.SchedulableCpuMillis,
		NodeSettings:         husk.NodeSettings{Labels: n.Labels, Taints: n.Taints, Cordoned: n.Cordoned},
		VMMOverheadMiB:       n.VmmOverheadMib, Endpoint: n.Endpoint, CreatedAt: n.CreatedAt, HeartbeatAt: n.HeartbeatAt,
	}
	if n.Pool != nil {
		node.Pool = *n.Pool
	}
	return node
}

func volumeOf(v db.Volume, podID *ID) husk.Volume {
	if podID != nil && v.State == husk.VolumeAvailable {
		v.State = husk.VolumeInUse
	}
	return husk.Volume{
		ID: v.ID, TenantID: v.TenantID, Name: v.Name, Labels: v.Labels, SizeGiB: v.SizeGib, State: v.State, Message: v.Message,
		PodID: podID, CreatedAt: v.CreatedAt,
	}
}

// storableReport drops what Postgres keeps in no text, and cuts what is too long. Some of these words come from a guest, who must not be able to hold up what
// the node says of its other pods.
func storableReport(r husk.PodReport) husk.PodReport {
	clean := func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), maxReportedText)], "\uFFFD"), "\x00", "")
	}
	r.Reason, r.Message = clean(r.Reason), clean(r.Message)
	r.Containers = slices.Clone(r.Containers)
	for i := range r.Containers {
		c := &r.Containers[i]
		c.Name, c.State, c.Reason, c.Message = clean(c.Name), clean(c.State), clean(c.Reason), clean(c.Message)
	}
	return r
}

func eventOf(e db.Event) husk.Event {
	return husk.Event{ID: e.ID, Kind: e.Kind, ObjectID: e.ObjectID, Reason: e.Reason, Message: e.Message, At: e.At}
}

func auditEntryOf(a db.Audit) husk.AuditEntry {
	return husk.AuditEntry{
		ID: a.ID, At: a.At, Operation: a.Operation, TenantID: a.TenantID, ObjectKind: a.ObjectKind, ObjectID: a.ObjectID,
		ActorKind: a.ActorKind, ActorID: a.ActorID, ActorName: a.ActorName, KeyID: a.KeyID, Address: a.Address, RequestID: a.RequestID, Detail: a.Detail,
	}
}

func issuerOf(i db.OidcIssuer) husk.OIDCIssuer {
	out := husk.OIDCIssuer{ID: i.ID, Name: i.Name, Issuer: i.Issuer, ClientID: i.ClientID, RoleMappings: i.RoleMappings, CreatedAt: i.CreatedAt}
	if i.TenantID != nil {
		out.TenantID = *i.TenantID
	}
	return out
}

func tenantOf(t db.Tenant, cidr netip.Prefix) husk.Tenant {
	return husk.Tenant{
		ID: t.ID, Name: t.Name, NetworkCIDR: cidr.String(), CreatedAt: t.CreatedAt,
		Quota: quotaOf(t),
	}
}

func imageOf(i db.Image) husk.Image {
	image := husk.Image{
		ID: i.ID, TenantID: i.TenantID, Reference: i.Reference, Digest: i.Digest, State: i.State, Message: i.Message, Config: i.Config,
		SizeBytes: i.SizeBytes, CreatedAt: i.CreatedAt, ReadyAt: i.ReadyAt,
	}
	// A server of before leaves progress behind where it ends an import.
	if i.State == husk.ImageImporting && i.FetchedBytes != nil && i.TotalBytes != nil {
		image.Progress = &husk.ImportProgress{FetchedBytes: *i.FetchedBytes, TotalBytes: *i.TotalBytes}
	}
	return image
}

func quotaOf(t db.Tenant) husk.Quota {
	return husk.Quota{
		Pods: t.QuotaPods, CPUMillis: t.QuotaCpuMillis, MemoryMiB: t.QuotaMemoryMib, Volumes: t.QuotaVolumes, VolumeGiB: t.QuotaVolumeGib,
		Snapshots: t.QuotaSnapshots, Networks: t.QuotaNetworks, Addresses: t.QuotaAddresses, Images: t.QuotaImages,
		RequestsPerSecond: t.QuotaRequestsPerSecond, Priority: t.QuotaPriority,
	}
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// storable is a text as Postgres can keep it, cut to so many bytes.
func storable(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-len("…")], "") + "…"
	}
	return s
}

func serviceAccountOf(a db.ServiceAccount) husk.ServiceAccount {
	return husk.ServiceAccount{ID: a.ID, Name: a.Name, Role: a.Role, CreatedAt: a.CreatedAt}
}

func apiKeyOf(k db.ApiKey) husk.APIKey {
	return husk.APIKey{
		ClientID: k.ClientID, Name: k.Name, ServiceAccountID: k.ServiceAccountID, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt, LimitedTo: k.LimitedTo,
	}
}
