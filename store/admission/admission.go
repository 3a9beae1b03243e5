// SPDX-License-Identifier: Apache-2.0

// Package admission decides whether a tenant can have a new pod, in transactions of package store: its quota, images, address, volumes, configs
// and secrets. The transaction holds the tenant's row.
package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/configs"
	"husk/store/convert"
	"husk/store/db"
	"husk/store/pools"
)

// New is a pod to admit.
type New struct {
	ID                  uuid.UUID
	Name                string
	Labels, Annotations map[string]string
	Spec                husk.PodSpec
}

// Pod stores a pod with everything that it claims. In a dry run, images, volumes, configs and secrets may be missing. Codes: quota_exceeded,
// name_taken, image_not_found, too_large, not_found, volume_in_use, conflict.
func Pod(ctx context.Context, q *db.Queries, tenant db.Tenant, p New) (db.Pod, error) {
	id, spec := p.ID, p.Spec
	if err := podQuota(ctx, q, tenant, spec); err != nil {
		return db.Pod{}, err
	}
	images, size, err := findImages(ctx, q, tenant.ID, spec)
	if err != nil {
		return db.Pod{}, err
	}
	values, err := configs.Find(ctx, q, tenant.ID, spec)
	if err != nil {
		return db.Pod{}, err
	}
	if size += values.GuestBytes + spec.ProjectedBytes(); size > husk.MaxGuestBytes {
		return db.Pod{}, husk.TooLargeForGuest(size, husk.MaxGuestBytes)
	}
	if err := Groups(ctx, q, tenant.ID, spec.SecurityGroups, "spec.securityGroups"); err != nil {
		return db.Pod{}, err
	}
	row, err := insertPod(ctx, q, tenant.ID, p, size)
	if err != nil {
		return db.Pod{}, err
	}
	for i, c := range spec.AllContainers() {
		if images[i] == uuid.Nil {
			continue
		}
		if err := q.UseImage(ctx, db.UseImageParams{TenantID: tenant.ID, PodID: id, Container: c.Name, ImageID: images[i]}); err != nil {
			return db.Pod{}, err
		}
	}
	if err := values.UseBy(ctx, q, id); err != nil {
		return db.Pod{}, err
	}
	for i, v := range spec.Volumes {
		if v.SnapshotID != uuid.Nil {
			if err := useSnapshot(ctx, q, row, v, fmt.Sprintf("spec.volumes[%d].snapshotId", i)); err != nil {
				return db.Pod{}, err
			}
		}
		if v.VolumeID == uuid.Nil {
			continue
		}
		volume, err := claimVolume(ctx, q, tenant.ID, id, v.VolumeID, fmt.Sprintf("spec.volumes[%d].volumeId", i))
		if err != nil {
			return db.Pod{}, err
		}
		if err := fitsVolume(spec, v.Name, "volume", volume.Name, volume.FsType); err != nil {
			return db.Pod{}, err
		}
		if err := needs(ctx, q, row, map[string]bool{husk.CapabilityVolumeKinds: volume.FsType == husk.FSXFS, husk.CapabilityEncryption: volume.KeyID != nil}); err != nil {
			return db.Pod{}, err
		}
	}
	return row, nil
}

// fitsVolume checks that containers mount a volume or a snapshot with a file system, and use one without as a device. Codes: invalid.
func fitsVolume(spec husk.PodSpec, as, kind, name, fsType string) error {
	for i, c := range spec.AllContainers() {
		for j, m := range c.VolumeMounts {
			if m.Volume == as && fsType == husk.FSNone {
				return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("%s.volumeMounts[%d].volume", spec.ContainerField(i), j),
					"%s %q has no file system; use it in volumeDevices", kind, name)
			}
		}
		for j, d := range c.VolumeDevices {
			if d.Volume == as && fsType != husk.FSNone && fsType != "" { // a dry run need not know the volume
				return husk.Errorf(husk.CodeInvalid, fmt.Sprintf("%s.volumeDevices[%d].volume", spec.ContainerField(i), j),
					"%s %q has the file system %s; use it in volumeMounts", kind, name, fsType)
			}
		}
	}
	return nil
}

// Quota refuses a request that would exceed a limit. Codes: quota_exceeded.
func Quota(field, what string, used, more, limit int) error {
	if used+more <= limit {
		return nil
	}
	return husk.Errorf(husk.CodeQuotaExceeded, field, "the tenant's quota allows %d %s; %d are in use and %d more were requested", limit, what, used, more)
}

func podQuota(ctx context.Context, q *db.Queries, tenant db.Tenant, spec husk.PodSpec) error {
	size := spec.Resources
	if spec.Scheduling != nil && spec.Scheduling.Priority > tenant.QuotaPriority {
		return husk.Errorf(husk.CodeQuotaExceeded, "spec.scheduling.priority", "the tenant's quota allows priorities up to %d", tenant.QuotaPriority)
	}
	use, err := q.PodUse(ctx, tenant.ID)
	if err != nil {
		return err
	}
	if err := Quota("", "pods", use.Pods, 1, tenant.QuotaPods); err != nil {
		return err
	}
	if err := Quota("spec.resources.cpuMillis", "thousandths of a core", use.CpuMillis, size.CPUMillis, tenant.QuotaCpuMillis); err != nil {
		return err
	}
	if err := Quota("spec.resources.memoryMiB", "MiB of memory", use.MemoryMib, size.MemoryMiB, tenant.QuotaMemoryMib); err != nil {
		return err
	}
	return Quota("spec.ephemeralStorageGiB", "GiB of scratch disks", use.ScratchGib, spec.ScratchGiB(), tenant.QuotaScratchGib)
}

// findImages returns the tenant's image for each container, and locks the images until the transaction ends. size is that of the containers in
// the form that the guest gets. Codes: image_not_found, invalid (a container could never start).
func findImages(ctx context.Context, q *db.Queries, tenantID uuid.UUID, spec husk.PodSpec) (ids []uuid.UUID, size int, err error) {
	containers := spec.AllContainers()
	ids = make([]uuid.UUID, 0, len(containers))
	merged := make([]husk.DesiredContainer, 0, len(containers))
	for i, c := range containers {
		row, err := q.ImageByReference(ctx, db.ImageByReferenceParams{TenantID: tenantID, Reference: c.Image})
		if errors.Is(err, pgx.ErrNoRows) && !pools.IsDryRun(ctx) {
			return nil, 0, husk.Errorf(husk.CodeImageNotFound, spec.ContainerField(i)+".image",
				"the tenant has not imported an image %q; import it first", c.Image)
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, 0, err
		}
		known := err == nil // a dry run need not know the image
		ids = append(ids, row.ID)
		merged = append(merged, husk.MergeContainer(c, row.Config))
		if err := husk.CheckStart(merged[i], spec.ContainerField(i)); err != nil && known {
			return nil, 0, err
		}
	}
	return ids, husk.GuestBytes(merged), nil
}

func insertPod(ctx context.Context, q *db.Queries, tenantID uuid.UUID, pod New, guestBytes int) (db.Pod, error) {
	id, name, spec := pod.ID, pod.Name, pod.Spec
	interfaces, err := interfacesOf(ctx, q, tenantID, id, spec.Networks)
	if err != nil {
		return db.Pod{}, err
	}
	stored := spec
	stored.Scheduling = nil     // it has a column of its own, which the scheduler reads without the spec
	stored.SecurityGroups = nil // they too: they can change
	p := db.InsertPodParams{
		TenantID: tenantID, ID: id, Name: name, Labels: pod.Labels, Annotations: orEmpty(pod.Annotations), Spec: stored, CpuMillis: spec.Resources.CPUMillis,
		MemoryMib: spec.Resources.MemoryMiB, NetworkID: interfaces[0].NetworkID, Address: interfaces[0].Address.Addr(), Mac: convert.MAC(id), Interfaces: interfaces, GuestBytes: guestBytes, Needs: spec.Needs(), ScratchGib: spec.ScratchGiB(),
		SecurityGroups: append([]string{}, spec.SecurityGroups...),
	}
	if sched := spec.Scheduling; sched != nil {
		p.Priority = sched.Priority
		if sched.Gang != nil {
			p.Gang = sched.Gang.Name
		}
		if p.Scheduling, err = json.Marshal(sched); err != nil {
			return db.Pod{}, err
		}
	}
	row, err := q.InsertPod(ctx, p)
	if errors.Is(err, pgx.ErrNoRows) {
		return db.Pod{}, nameTaken(ctx, q, tenantID, name)
	}
	return row, err
}

// nameTaken says whether the other pod with this name is still being deleted, because then the name is free soon.
func nameTaken(ctx context.Context, q *db.Queries, tenantID uuid.UUID, name string) error {
	others, err := q.Pods(ctx, db.PodsParams{TenantID: tenantID, Name: &name, Max: 1})
	if err != nil {
		return err
	}
	if len(others) == 0 || others[0].DeletionRequestedAt == nil {
		return husk.Errorf(husk.CodeNameTaken, "name", "a pod named %q exists already", name)
	}
	grace := time.Duration(others[0].Spec.GracePeriodSeconds) * time.Second
	return husk.Errorf(husk.CodeNameTaken, "name", "the earlier pod named %q is still being deleted; its containers have until %s to end. Retry then",
		name, others[0].DeletionRequestedAt.Add(grace).UTC().Format(time.RFC3339))
}

// Groups refuses names of security groups that do not exist. The transaction holds the tenant's row. Codes: not_found.
func Groups(ctx context.Context, q *db.Queries, tenant uuid.UUID, names []string, field string) error {
	if len(names) == 0 {
		return nil
	}
	known, err := q.GroupsNamed(ctx, db.GroupsNamedParams{TenantID: tenant, Names: names})
	if err != nil {
		return err
	}
	for i, name := range names {
		if !slices.Contains(known, name) {
			return husk.Errorf(husk.CodeNotFound, fmt.Sprintf("%s[%d]", field, i), "there is no security group %q", name)
		}
	}
	return nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// Again checks whether a pod that has held nothing can run again, and claims its volumes. Codes: quota_exceeded, not_found, volume_in_use, conflict.
func Again(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Pod) error {
	use, err := q.PodUse(ctx, tenant.ID)
	if err != nil {
		return err
	}
	if err := Quota("", "thousandths of a core", use.CpuMillis, row.CpuMillis, tenant.QuotaCpuMillis); err != nil {
		return err
	}
	if err := Quota("", "MiB of memory", use.MemoryMib, row.MemoryMib, tenant.QuotaMemoryMib); err != nil {
		return err
	}
	if err := Quota("", "GiB of scratch disks", use.ScratchGib, row.ScratchGib, tenant.QuotaScratchGib); err != nil {
		return err
	}
	for _, v := range row.Spec.Volumes {
		if v.SnapshotID != uuid.Nil {
			if err := useSnapshot(ctx, q, row, v, ""); err != nil {
				return err
			}
		}
		if v.VolumeID == uuid.Nil {
			continue
		}
		if pod, err := q.VolumeClaim(ctx, db.VolumeClaimParams{TenantID: tenant.ID, VolumeID: v.VolumeID}); err == nil && pod == row.ID {
			continue // a stopped pod keeps its volumes
		}
		if _, err := claimVolume(ctx, q, tenant.ID, row.ID, v.VolumeID, ""); err != nil {
			return err
		}
	}
	return nil
}

// useSnapshot attaches a snapshot to a pod. Codes: not_found, conflict, invalid.
func useSnapshot(ctx context.Context, q *db.Queries, row db.Pod, v husk.PodVolume, field string) error {
	s, err := q.LockSnapshot(ctx, db.LockSnapshotParams{TenantID: row.TenantID, ID: v.SnapshotID})
	switch {
	case errors.Is(err, pgx.ErrNoRows) && pools.IsDryRun(ctx):
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		return husk.Errorf(husk.CodeNotFound, field, "there is no such snapshot")
	case err != nil:
		return err
	case s.State != husk.SnapshotReady:
		return husk.Errorf(husk.CodeConflict, field, "snapshot %q is %s; it can be attached once it is %s", s.Name, s.State, husk.SnapshotReady)
	}
	if err := q.UseSnapshot(ctx, db.UseSnapshotParams{TenantID: row.TenantID, SnapshotID: s.ID, PodID: row.ID}); err != nil {
		return err
	}
	if err := needs(ctx, q, row, map[string]bool{husk.CapabilityEncryption: s.KeyID != nil}); err != nil {
		return err
	}
	return fitsVolume(row.Spec, v.Name, "snapshot", s.Name, s.FsType)
}

// needs adds capabilities that a pod needs because of its disks.
func needs(ctx context.Context, q *db.Queries, row db.Pod, capabilities map[string]bool) error {
	for capability, needed := range capabilities {
		if !needed {
			continue
		}
		if err := q.AddPodNeed(ctx, db.AddPodNeedParams{TenantID: row.TenantID, ID: row.ID, Need: capability}); err != nil {
			return err
		}
	}
	return nil
}

func claimVolume(ctx context.Context, q *db.Queries, tenantID, podID, volumeID uuid.UUID, field string) (db.Volume, error) {
	row, err := q.LockVolume(ctx, db.LockVolumeParams{TenantID: tenantID, ID: volumeID})
	if errors.Is(err, pgx.ErrNoRows) && pools.IsDryRun(ctx) {
		return db.Volume{}, nil
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return db.Volume{}, husk.Errorf(husk.CodeNotFound, field, "there is no such volume")
	}
	if err != nil {
		return db.Volume{}, err
	}
	if row.State == husk.VolumeDeleting {
		return db.Volume{}, husk.Errorf(husk.CodeConflict, field, "volume %q is being deleted", row.Name)
	}
	if row.UploadUntil != nil { // if that fails, the volume is removed
		return db.Volume{}, husk.Errorf(husk.CodeConflict, field, "the content of volume %q is being uploaded; retry when it is %s", row.Name, husk.VolumeAvailable)
	}
	n, err := q.ClaimVolume(ctx, db.ClaimVolumeParams{TenantID: tenantID, VolumeID: volumeID, PodID: podID})
	if err == nil && n == 0 {
		return db.Volume{}, husk.Errorf(husk.CodeVolumeInUse, field, "volume %q is claimed by another pod; delete that pod first", row.Name)
	}
	return row, err
}
