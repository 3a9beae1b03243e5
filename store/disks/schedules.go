// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

// Schedule changes the schedule of a volume's snapshots. The first one is due after one interval. Codes: conflict.
func Schedule(s husk.SnapshotSchedule) Change {
	return func(ctx context.Context, q *db.Queries, _ db.Tenant, row db.Volume) (string, string, error) {
		if s.EveryMinutes == 0 {
			s.Keep = 0
		}
		switch {
		case row.State == husk.VolumeDeleting:
			return "", "", husk.Errorf(husk.CodeConflict, "", "volume %q is being deleted", row.Name)
		case row.SnapshotMinutes == s.EveryMinutes && row.SnapshotKeep == s.Keep:
			return "", "", nil
		}
		message := "no snapshots are taken by schedule"
		if s.EveryMinutes > 0 {
			message = fmt.Sprintf("a snapshot every %s, of which %d are kept", interval(s.EveryMinutes), s.Keep)
		}
		return "ScheduleChanged", message, q.SetVolumeSchedule(ctx, db.SetVolumeScheduleParams{TenantID: row.TenantID, ID: row.ID, Minutes: s.EveryMinutes, Keep: s.Keep})
	}
}

// interval says how long so many minutes are.
func interval(minutes int) string {
	const hour, day = 60, 24 * 60
	switch {
	case minutes%day == 0:
		return fmt.Sprintf("%d days", minutes/day)
	case minutes%hour == 0:
		return fmt.Sprintf("%d hours", minutes/hour)
	default:
		return fmt.Sprintf("%d minutes", minutes)
	}
}

// Update changes what is given: the size of a volume, its schedule of snapshots, its class. Codes: invalid, conflict, quota_exceeded, not_found.
func Update(sizeGiB *int, schedule *husk.SnapshotSchedule, class *string) Change {
	var changes []Change
	if class != nil { // before the size, which counts for the limit of the new class
		changes = append(changes, SetClass(*class))
	}
	if sizeGiB != nil {
		changes = append(changes, Grow(*sizeGiB))
	}
	if schedule != nil {
		changes = append(changes, Schedule(*schedule))
	}
	return func(ctx context.Context, q *db.Queries, tenant db.Tenant, row db.Volume) (reason, message string, err error) {
		for _, change := range changes {
			r, m, err := change(ctx, q, tenant, row)
			switch {
			case err != nil:
				return "", "", err
			case reason != "" && r != "": // one event for both
				m = message + "; " + m
			case r != "":
				reason = r
			default:
				m = message
			}
			message = m
		}
		return reason, message, nil
	}
}

// Due returns volumes whose schedule asks for a snapshot now, those that wait longest first.
func (c Copies) Due(ctx context.Context, limit int) (due []db.VolumesDueRow, err error) {
	err = c.Do(ctx, func(q *db.Queries) error {
		due, err = q.VolumesDue(ctx, limit)
		return err
	})
	return due, err
}

// TakeScheduled requests the snapshot that a volume's schedule asks for, and deletes those that are no longer kept. Runs that were missed are not made
// up for. If the snapshot is not possible now, an event of the volume says why, and the schedule continues with the next run. It reports whether it
// has requested a snapshot.
func (c Copies) TakeScheduled(ctx context.Context, epoch int64, tenant, volume uuid.UUID) (taken bool, err error) {
	err = c.Do(ctx, func(q *db.Queries) error {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return err
		}
		owner, err := q.LockTenant(ctx, tenant)
		if err != nil {
			return err
		}
		row, err := q.AdvanceSchedule(ctx, db.AdvanceScheduleParams{TenantID: tenant, ID: volume})
		if errors.Is(err, pgx.ErrNoRows) { // the schedule or the volume has changed
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.expire(ctx, q, tenant, volume); err != nil {
			return err
		}
		s := husk.Snapshot{ID: uuid.New(), Name: scheduledName(row, time.Now()), Labels: row.Labels, VolumeID: volume, Scheduled: true}
		_, err = InsertSnapshot(ctx, q, owner, s)
		switch husk.CodeOf(err) { //nolint:exhaustive // others are failures
		case husk.CodeConflict, husk.CodeQuotaExceeded:
			refused, _ := errors.AsType[*husk.Error](err)
			return c.Record(ctx, q, tenant, "volume", volume, "SnapshotSkipped", refused.Detail)
		}
		if err != nil {
			return err
		}
		taken = true
		return c.Record(ctx, q, tenant, "snapshot", s.ID, "Created", "by the schedule of volume "+row.Name)
	})
	return taken && err == nil, err
}

// maxScheduledName is how much of a volume's name the names of its scheduled snapshots have: with the time, a name has 63 characters.
const maxScheduledName = 47

// scheduledName names a snapshot after its volume and the time.
func scheduledName(v db.Volume, at time.Time) string {
	name := v.Name
	if len(name) > maxScheduledName {
		name = name[:maxScheduledName-9] + "-" + v.ID.String()[:8]
	}
	return name + at.UTC().Format("-20060102-150405")
}

// expire marks the scheduled snapshots of a volume for deletion that its schedule no longer keeps, except those whose data a volume shares. The
// transaction holds the tenant's row.
func (c Copies) expire(ctx context.Context, q *db.Queries, tenant, volume uuid.UUID) error {
	ids, err := q.ExpireSnapshots(ctx, db.ExpireSnapshotsParams{TenantID: tenant, VolumeID: volume})
	for _, id := range ids {
		err = errors.Join(err, c.Record(ctx, q, tenant, "snapshot", id, "Expired", ""))
	}
	return err
}

// expireOthers does so for the volume of a snapshot that has become Ready.
func (c Copies) expireOthers(ctx context.Context, q *db.Queries, tenant, snapshot uuid.UUID) error {
	s, err := q.Snapshot(ctx, db.SnapshotParams{TenantID: tenant, ID: snapshot})
	if err != nil || !s.Scheduled {
		return err
	}
	return c.expire(ctx, q, tenant, s.VolumeID)
}
