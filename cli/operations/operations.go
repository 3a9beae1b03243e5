// SPDX-License-Identifier: Apache-2.0

// Package operations has the commands that show what Husk is doing in the background, and cancel or retry it: imports of images, copies of volumes
// and snapshots, starts, stops and deletions, and for operators drains of nodes. The API has no operations of its own: the states of objects say
// what is in progress.
package operations

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Operation is something that Husk does with an object in the background.
type Operation struct {
	Kind            string    `json:"kind"` // of the object
	Name            string    `json:"name"`
	ID              uuid.UUID `json:"id"`
	Operation       string    `json:"operation"`
	Failed          bool      `json:"failed"` // it has ended, and can only be retried
	ProgressPercent *int      `json:"progressPercent,omitempty"`
	Message         string    `json:"message,omitempty"`
	Cancelable      bool      `json:"cancelable"`
	Retryable       bool      `json:"retryable"`

	cancel, retry func(ctx context.Context) error
}

// The operations.
const (
	importing = "import"
	copying   = "copy"
	creating  = "creation"
	deleting  = "deletion"
	starting  = "start"
	stopping  = "stop"
	draining  = "drain"
)

// Ref names the object.
func (o Operation) Ref() kind.Ref { return kind.Ref{Kind: o.Kind, Name: o.Name} }

// offering sets what can be done.
func (o Operation) offering(cancel, retry func(ctx context.Context) error) Operation {
	o.cancel, o.retry, o.Cancelable, o.Retryable = cancel, retry, cancel != nil, retry != nil
	return o
}

// Kind lists operations.
var Kind = kind.Kind[Operation]{
	View: print.View[Operation]{
		Kind: "operation",
		Name: func(o Operation) string { return o.Ref().String() },
		Columns: []print.Column[Operation]{
			print.Col("OBJECT", func(o Operation) string { return o.Ref().String() }),
			print.Col("OPERATION", func(o Operation) string {
				if o.Failed {
					return o.Operation + " failed"
				}
				return o.Operation
			}),
			print.Col("PROGRESS", func(o Operation) string {
				if o.ProgressPercent == nil {
					return ""
				}
				return fmt.Sprintf("%d%%", *o.ProgressPercent)
			}),
			print.Col("POSSIBLE", func(o Operation) string {
				switch {
				case o.Cancelable:
					return "cancel"
				case o.Retryable:
					return "retry"
				default:
					return ""
				}
			}),
			print.Col("MESSAGE", func(o Operation) string { return print.Shortened(o.Message, 40) }),
			print.WideCol("ID", func(o Operation) string { return o.ID.String() }),
		},
	},
	Plural: "operations", Aliases: []string{"operation"}, Short: "List what is in progress in the background, and cancel or retry it",
	ID:     func(o Operation) string { return o.ID.String() },
	IfNone: "imports, copies, starts, stops, deletions and drains are listed here while they are in progress",
	Find: func(ctx context.Context, c *client.Client, name string) (Operation, error) {
		return client.FindIn(client.Each(list(ctx, c)), "operation", name, func(o Operation) []string {
			return []string{o.Ref().String(), o.Name, o.ID.String()}
		})
	},
	List: func(ctx context.Context, c *client.Client, _ kind.Query) iter.Seq2[Operation, error] {
		return client.Each(list(ctx, c))
	},
}

// list returns the operations of the caller's tenant, or the drains if the caller is an operator.
func list(ctx context.Context, c *client.Client) ([]Operation, error) {
	me, err := c.WhoAmI(ctx)
	if err != nil {
		return nil, err
	}
	if me.TenantID == nil {
		return drains(ctx, c)
	}
	images, err := gather(c.Images.List(ctx), ofImage(c))
	if err != nil {
		return nil, err
	}
	volumes, err := gather(c.Volumes.List(ctx, client.Select{}), ofVolume(c))
	if err != nil {
		return nil, err
	}
	snapshots, err := gather(c.Snapshots.List(ctx, client.Select{}), ofSnapshot(c))
	if err != nil {
		return nil, err
	}
	pods, err := gather(c.Pods.List(ctx, client.Select{}), ofPod(c))
	return slices.Concat(images, volumes, snapshots, pods), err
}

// gather returns the operations of objects.
func gather[T any](objects iter.Seq2[T, error], of func(T) (Operation, bool)) ([]Operation, error) {
	var all []Operation
	for object, err := range objects {
		if err != nil {
			return nil, err
		}
		if o, busy := of(object); busy {
			all = append(all, o)
		}
	}
	return all, nil
}

func ofImage(c *client.Client) func(openapi.Image) (Operation, bool) {
	return func(i openapi.Image) (Operation, bool) {
		o := Operation{Kind: "image", Name: i.Reference, ID: i.ID, Operation: importing, Message: openapi.Value(i.Message)}
		remove := func(ctx context.Context) error { return c.Images.Delete(ctx, i.ID) }
		switch i.State { //nolint:exhaustive // the others are no operations
		case openapi.ImageStateImporting:
			if p := i.Progress; p != nil && p.TotalBytes > 0 {
				o.ProgressPercent = new(int(p.FetchedBytes * 100 / p.TotalBytes))
			}
			return o.offering(remove, nil), true
		case openapi.ImageStateFailed:
			o.Failed = true
			return o.offering(nil, func(ctx context.Context) error {
				_, err := c.Images.Import(ctx, openapi.ImageImport{Reference: i.Reference})
				return err
			}), true
		case openapi.ImageStateDeleting:
			o.Operation = deleting
			return o, true
		default:
			return o, false
		}
	}
}

func ofVolume(c *client.Client) func(openapi.Volume) (Operation, bool) {
	return func(v openapi.Volume) (Operation, bool) {
		o := Operation{Kind: "volume", Name: v.Name, ID: v.ID, Operation: creating, ProgressPercent: v.ProgressPercent, Message: openapi.Value(v.Message)}
		switch v.State { //nolint:exhaustive // the others are no operations
		case openapi.VolumeStateCreating:
			if v.ProgressPercent != nil {
				o.Operation = copying
			}
			return o.offering(func(ctx context.Context) error { return c.Volumes.Delete(ctx, v.ID) }, nil), true
		case openapi.VolumeStateDeleting:
			o.Operation = deleting
			return o, true
		default:
			return o, false
		}
	}
}

func ofSnapshot(c *client.Client) func(openapi.Snapshot) (Operation, bool) {
	return func(s openapi.Snapshot) (Operation, bool) {
		o := Operation{Kind: "snapshot", Name: s.Name, ID: s.ID, Operation: copying, ProgressPercent: &s.ProgressPercent, Message: openapi.Value(s.Message)}
		switch s.State { //nolint:exhaustive // the others are no operations
		case openapi.SnapshotStateCreating:
			return o.offering(func(ctx context.Context) error { return c.Snapshots.Delete(ctx, s.ID) }, nil), true
		case openapi.SnapshotStateDeleting:
			o.Operation, o.ProgressPercent = deleting, nil
			return o, true
		default:
			return o, false
		}
	}
}

func ofPod(c *client.Client) func(openapi.Pod) (Operation, bool) {
	return func(p openapi.Pod) (Operation, bool) {
		o := Operation{Kind: "pod", Name: p.Name, ID: p.ID, Operation: starting, Message: openapi.Value(p.Status.Message)}
		if p.DeletionRequestedAt != nil {
			o.Operation = deleting
			return o, true
		}
		switch p.Status.Phase { //nolint:exhaustive // the others are no operations
		case openapi.PodPhasePending, openapi.PodPhaseStarting:
			return o.offering(func(ctx context.Context) error {
				_, err := c.Pods.Stop(ctx, p.ID)
				return err
			}, nil), true
		case openapi.PodPhaseStopping:
			o.Operation = stopping
			return o, true
		default:
			return o, false
		}
	}
}

// drains returns the drains of nodes.
func drains(ctx context.Context, c *client.Client) ([]Operation, error) {
	nodes, err := c.Nodes.List(ctx)
	var all []Operation
	for _, n := range nodes {
		if n.Drain == nil || *n.Drain != openapi.NodeDrainDraining {
			continue
		}
		d, err := c.Nodes.GetDrain(ctx, n.ID)
		if err != nil {
			return nil, err
		}
		o := Operation{Kind: "node", Name: n.Name, ID: n.ID, Operation: draining}
		o.Message = fmt.Sprintf("%d pods left, %d moving, %d blocked, since %s", d.Pods, d.Moving, len(d.Blocked), d.StartedAt.Format(time.RFC3339))
		all = append(all, o.offering(func(ctx context.Context) error { return c.Nodes.CancelDrain(ctx, n.ID) }, nil))
	}
	return all, err
}
