// SPDX-License-Identifier: Apache-2.0

// Package growth changes the volumes of a running pod. It makes them larger: for QEMU, which tells the guest's kernel, and then for the file system
// in the guest. And it changes how much their disks can read and write.
package growth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/guest"
	"husk/nodeagent/translate"
	"husk/nodeagent/vm"
)

// retryAfter is the delay before a growth that failed is retried.
const retryAfter = 5 * time.Second

// Machines changes the disks of virtual machines.
type Machines interface {
	GrowDisk(ctx context.Context, pod uuid.UUID, serial string, bytes int64) error
	LimitDisk(ctx context.Context, pod uuid.UUID, serial string, limits *vm.DiskLimits) error
}

// Volumes follows the sizes and the limits that the volumes of one pod should have.
type Volumes struct {
	machines Machines
	guest    *guest.Client
	log      *slog.Logger
	wanted   chan husk.DesiredPod
}

// Of returns the volumes of a pod whose guest answers.
func Of(machines Machines, g *guest.Client, log *slog.Logger, desired husk.DesiredPod) *Volumes {
	v := &Volumes{machines, g, log, make(chan husk.DesiredPod, 1)}
	v.Set(desired)
	return v
}

// Set replaces the desired state of the pod. Only one goroutine calls it.
func (v *Volumes) Set(desired husk.DesiredPod) {
	select {
	case <-v.wanted:
	default:
	}
	v.wanted <- desired
}

// Run makes volumes larger and changes their limits until ctx ends. It begins with all of them, because an earlier agent may have been interrupted.
func (v *Volumes) Run(ctx context.Context) {
	has := map[string]int{} // sizes in GiB by serial
	limited := map[string]limits{}
	var desired husk.DesiredPod
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case desired = <-v.wanted:
		case <-retry:
		}
		retry = nil
		for _, d := range desired.Disks {
			if d.SizeGiB == 0 { // not a volume
				continue
			}
			if want := limitsOf(d); limited[d.Serial] != want {
				// As below, an end of ctx does not interrupt it.
				if err := v.machines.LimitDisk(context.WithoutCancel(ctx), desired.ID, d.Serial, translate.Limits(d)); err == nil {
					limited[d.Serial] = want
				} else {
					if ctx.Err() == nil {
						v.log.Warn("the limits of a volume have not changed yet; retrying", "volume", d.Name, "error", err)
					}
					retry = time.After(retryAfter)
				}
			}
			if d.SizeGiB <= has[d.Serial] {
				continue
			}
			if err := v.grow(ctx, desired.ID, d); err != nil {
				if ctx.Err() == nil {
					v.log.Warn("a volume has not grown yet; retrying", "volume", d.Name, "gib", d.SizeGiB, "error", err)
				}
				retry = time.After(retryAfter)
				continue
			}
			has[d.Serial] = d.SizeGiB
		}
	}
}

// limits are the limits that a disk has. The zero value means that they are not known.
type limits struct {
	known bool
	own   bool
	husk.DiskLimits
}

func limitsOf(d husk.DesiredDisk) limits {
	if d.Limits == nil {
		return limits{known: true}
	}
	return limits{true, true, *d.Limits}
}

func (v *Volumes) grow(ctx context.Context, pod uuid.UUID, d husk.DesiredDisk) error {
	size := int64(d.SizeGiB) << 30
	// An end of ctx does not interrupt it, because libvirt's calls cannot be interrupted.
	if err := v.machines.GrowDisk(context.WithoutCancel(ctx), pod, d.Serial, size); err != nil {
		return err
	}
	err := v.guest.Grow(ctx, d.Serial, size)
	if refused, ok := errors.AsType[*guest.CallError](err); ok && (refused.Code == guest.CodeInvalid || refused.Code == guest.CodeNotFound) {
		v.log.Debug("the guest cannot make a file system larger now; it does so when it mounts the volume", "volume", d.Name, "why", refused.Message)
		return nil
	}
	return err
}
