// SPDX-License-Identifier: Apache-2.0

package edit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rogpeppe/go-internal/diff"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/live"
	"husk/cli/manifest"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// What stands for values of secrets in a difference.
const (
	secret = "***"
	before = "*** (before)"
	after  = "*** (after)"
)

// Differ prints what objects would have to become for them to be as documents say.
type Differ struct {
	Client    *client.Client
	Out, Errs io.Writer
}

// All compares documents with the existing objects. It returns a [client.ExitError] with the code 1 if one differs. No other error has this exit
// code.
func (d Differ) All(ctx context.Context, docs []manifest.Document) error {
	differ := false
	var failures []error
	for _, doc := range docs {
		for _, warning := range doc.Warnings {
			fmt.Fprintln(d.Errs, "husk: warning:", print.Clean(warning))
		}
		changes, err := d.one(ctx, doc)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", doc.Where, doc.Ref(), err)
			if exit.Code(err) == exit.Failure { // it would say that an object differs
				err = exit.DocumentError{Err: err}
			}
			failures = append(failures, err)
			continue
		}
		differ = differ || changes != ""
		if _, err := io.WriteString(d.Out, changes); err != nil {
			return exit.DocumentError{Err: err}
		}
	}
	if len(failures) == 0 && differ {
		return &client.ExitError{Code: exit.Failure}
	}
	return errors.Join(failures...)
}

// one returns the difference of one object, as diff -u prints it.
func (d Differ) one(ctx context.Context, want manifest.Document) (string, error) {
	have, err := live.Find(ctx, d.Client, kind.Ref{Kind: want.Kind(), Name: want.Name()})
	exists := err == nil
	if err != nil && !client.IsNotFound(err) {
		return "", err
	}
	if exists {
		adopt(&want, have.Document)
	}
	if want.Pod != nil {
		if err := d.resolve(ctx, want.Pod); err != nil {
			return "", err
		}
	}
	if want.Address != nil {
		if err := d.name(ctx, want.Address); err != nil {
			return "", err
		}
	}
	if want.Config != nil && want.Config.Kind == openapi.ConfigKindSecret {
		if want, err = d.redact(ctx, want, &have, exists); err != nil {
			return "", err
		}
	}
	was := ""
	if exists {
		if was, err = live.Text(have.Document); err != nil {
			return "", err
		}
	}
	now, err := live.Text(want)
	if err != nil {
		return "", err
	}
	return string(diff.Diff("live/"+want.Ref(), []byte(was), want.Where, []byte(now))), nil
}

// adopt takes from the existing object what applies if a document leaves it out, and leaves out what only a new object has.
func adopt(want *manifest.Document, have manifest.Document) {
	switch {
	case want.Volume != nil:
		v := *want.Volume
		v.FsType, v.Class = cmp.Or(v.FsType, have.Volume.FsType), cmp.Or(v.Class, have.Volume.Class)
		v.Encrypted = cmp.Or(v.Encrypted, have.Volume.Encrypted)
		v.SnapshotSchedule = cmp.Or(v.SnapshotSchedule, have.Volume.SnapshotSchedule)
		v.Source, v.Flatten = nil, nil
		want.Volume = &v
	case want.Network != nil:
		n := *want.Network
		n.Cidr = cmp.Or(n.Cidr, have.Network.Cidr)
		want.Network = &n
	case want.Address != nil:
		a := *want.Address
		a.DeleteWithTarget = cmp.Or(a.DeleteWithTarget, have.Address.DeleteWithTarget)
		want.Address = &a
	case want.Image != nil:
		want.Image = &openapi.ImageImport{Reference: have.Image.Reference}
	}
}

// name replaces the ID of an address's target by its name. What does not exist yet keeps what the document says.
func (d Differ) name(ctx context.Context, a *manifest.Address) error {
	if a.Service != "" {
		s, err := d.Client.Services.Find(ctx, a.Service)
		if client.IsNotFound(err) {
			return nil
		}
		a.Service = s.Name
		return err
	}
	if a.Pod == "" {
		return nil
	}
	p, err := d.Client.Pods.Find(ctx, a.Pod)
	if client.IsNotFound(err) {
		return nil
	}
	a.Pod = p.Name
	return err
}

// resolve replaces the names of a pod's volumes and snapshots by their IDs. What does not exist yet keeps its name.
func (d Differ) resolve(ctx context.Context, pod *manifest.Pod) error {
	pod.RegistrySecrets = nil // the pod itself does not have them
	volumes := slices.Clone(openapi.Value(pod.Spec.Volumes))
	for i, v := range volumes {
		if name := pod.VolumeNames[v.Name]; name != "" {
			found, err := d.Client.Volumes.Find(ctx, name)
			if err == nil {
				volumes[i].VolumeID = &found.ID
			} else if !client.IsNotFound(err) {
				return err
			}
		}
		if name := pod.SnapshotNames[v.Name]; name != "" {
			found, err := d.Client.Snapshots.Find(ctx, name)
			if err == nil {
				volumes[i].SnapshotID = &found.ID
			} else if !client.IsNotFound(err) {
				return err
			}
		}
	}
	if pod.Spec.Volumes != nil {
		pod.Spec.Volumes = &volumes
	}
	return nil
}

// redact replaces the values of a secret in both documents. The API does not return values, but it says in a dry run whether one would change.
func (d Differ) redact(ctx context.Context, want manifest.Document, have *live.Object, exists bool) (manifest.Document, error) {
	was := openapi.ConfigValues{}
	if exists {
		for _, key := range have.Config.Keys {
			was[key.Name] = new(secret)
		}
	}
	now := openapi.ConfigValues{}
	shown := func(key string, change openapi.ConfigUpdate) error {
		now[key] = new(secret)
		if was[key] == nil {
			return nil
		}
		updated, err := d.Client.Configs.Update(ctx, have.ID, change, true)
		if err == nil && updated.Version != have.Config.Version {
			was[key], now[key] = new(before), new(after)
		}
		return err
	}
	for key, value := range openapi.Value(want.Config.Values) {
		if err := shown(key, openapi.ConfigUpdate{Values: &openapi.ConfigValues{key: value}}); err != nil {
			return want, err
		}
	}
	for key, value := range openapi.Value(want.Config.BinaryValues) {
		if err := shown(key, openapi.ConfigUpdate{BinaryValues: &openapi.ConfigBinaryValues{key: value}}); err != nil {
			return want, err
		}
	}
	w := *want.Config
	w.Values, w.BinaryValues, want.Config = &now, nil, &w
	if exists {
		h := *have.Document.Config
		h.Values, h.BinaryValues, have.Document.Config = &was, nil, &h
	}
	return want, nil
}
