// SPDX-License-Identifier: Apache-2.0

// Package apply creates the objects that documents describe. It compares each document with the existing object first, and says what it did.
// Package manifest reads the documents, and the command line waits for objects in the functions that it passes.
package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/manifest"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// The kinds of dry runs.
const (
	None   = "none"
	Client = "client" // compare with the existing objects
	Server = "server" // let the API check as well
)

// Application is one call of husk apply.
type Application struct {
	Client    *client.Client
	Out, Errs io.Writer
	Replace   bool   // delete a pod that differs, and create it again
	Wait      bool   // until the objects are ready
	DryRun    string // one of the kinds above
	Kept      string // a value of a config or a secret in place of the one that it has; empty: there is none

	Await     func(ctx context.Context, r kind.Ref) error                     // waits until an object is ready
	UntilGone func(ctx context.Context, o kind.Object) error                  // waits until an object is deleted
	HaveImage func(ctx context.Context, image string, secrets []string) error // imports an image unless it is imported

	planned map[string]uuid.UUID // volumes that would be created if this were not a dry run, with IDs that stand for them
	targets map[string]bool      // services, pods and groups that would be created if this were not a dry run
	named   map[string]bool      // groups that were created because rules of others name them
	refused map[string]error     // what the API says against groups of the documents
}

func (a *Application) dry() bool { return a.DryRun != None }

// All applies one document after the other. It continues after one that fails.
func (a *Application) All(ctx context.Context, docs []manifest.Document) error {
	a.planned, a.targets, a.named, a.refused = map[string]uuid.UUID{}, map[string]bool{}, map[string]bool{}, map[string]error{}
	if err := a.createNamed(ctx, docs); err != nil {
		return err
	}
	var failures []error
	var waitFor []kind.Ref
	for _, d := range docs {
		for _, warning := range d.Warnings {
			fmt.Fprintln(a.Errs, "husk: warning:", print.Clean(warning))
		}
		var done string
		var err error
		switch {
		case d.Image != nil:
			done, err = a.image(ctx, *d.Image)
		case d.Volume != nil:
			done, err = a.volume(ctx, *d.Volume)
		case d.Config != nil:
			done, err = a.config(ctx, *d.Config)
		case d.Network != nil:
			done, err = a.network(ctx, *d.Network)
		case d.Service != nil:
			done, err = a.service(ctx, *d.Service)
		case d.Ingress != nil:
			done, err = a.ingress(ctx, *d.Ingress)
		case d.Address != nil:
			done, err = a.address(ctx, *d.Address)
		case d.Group != nil:
			done, err = a.group(ctx, *d.Group)
		default:
			done, err = a.pod(ctx, *d.Pod)
		}
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			where := d.Where
			if refused, ok := err.(*client.Error); ok && refused.Field != "" { //nolint:errorlint // an error about something else names no field of the document
				at := *refused
				where, at.Field = d.Locate(refused.Field)
				err = &at
			}
			failures = append(failures, fmt.Errorf("%s, %s: %w", where, d.Ref(), err))
			continue
		}
		switch {
		case done == "unchanged":
		case a.DryRun == Server:
			done += " (server dry run)"
		case a.dry():
			done += " (dry run)"
		}
		fmt.Fprintln(a.Out, print.Clean(d.Ref()), done)
		a.targets[d.Ref()] = a.dry()
		if d.Config != nil || d.Network != nil || d.Service != nil || d.Ingress != nil || d.Address != nil || d.Group != nil {
			continue // it is ready at once
		}
		waitFor = append(waitFor, kind.Ref{Kind: d.Kind(), Name: d.Name()})
	}
	if a.Wait && !a.dry() {
		for _, r := range waitFor {
			if err := a.Await(ctx, r); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

func (a *Application) image(ctx context.Context, want openapi.ImageImport) (string, error) {
	have, err := a.Client.Images.Find(ctx, want.Reference)
	switch {
	case err == nil && have.State != openapi.ImageStateFailed && have.State != openapi.ImageStateDeleting:
		return "unchanged", nil
	case err != nil && !client.IsNotFound(err):
		return "", err
	case a.dry():
		return "imported", nil
	}
	if _, err := a.Client.Images.Import(ctx, want); err != nil {
		return "", err
	}
	return "imported", nil
}

func (a *Application) volume(ctx context.Context, want openapi.VolumeCreate) (string, error) {
	have, err := a.Client.Volumes.Find(ctx, want.Name)
	switch {
	case err == nil && have.State == openapi.VolumeStateDeleting:
		return "", exit.ConflictError{Detail: "the volume is being deleted; run \"husk wait volume/" + want.Name + " --for deleted\", then apply again"}
	case err == nil:
		return a.changeVolume(ctx, want, have)
	case !client.IsNotFound(err):
		return "", err
	case a.DryRun == Server:
		if _, err := a.Client.Volumes.DryRun(ctx, want); err != nil {
			return "", err
		}
	case !a.dry():
		_, err := a.Client.Volumes.Create(ctx, want)
		return "created", err
	}
	a.planned[want.Name] = uuid.New()
	return "created", nil
}

// changeVolume gives a volume the class, the schedule and the larger size of its document.
func (a *Application) changeVolume(ctx context.Context, want openapi.VolumeCreate, have openapi.Volume) (string, error) {
	var change openapi.VolumeUpdate
	var fixed []string
	differ := manifest.DiffVolume(want, have)
	for _, field := range differ {
		switch {
		case field == "sizeGiB" && want.SizeGiB > have.SizeGiB:
			change.SizeGiB = &want.SizeGiB
		case field == "class":
			change.Class = want.Class
		case strings.HasPrefix(field, "snapshotSchedule"):
			change.SnapshotSchedule = want.SnapshotSchedule
		default:
			fixed = append(fixed, field)
		}
	}
	switch {
	case len(fixed) > 0:
		return "", exit.ConflictError{Detail: "the volume exists and differs in " + strings.Join(fixed, ", ") +
			"; only its class, its schedule of snapshots and a larger size can be changed, and deleting it would delete its data"}
	case len(differ) == 0:
		return "unchanged", nil
	case a.dry():
		return "changed", nil
	}
	_, err := a.Client.Volumes.Update(ctx, have.ID, change)
	return "changed", err
}

func (a *Application) pod(ctx context.Context, want manifest.Pod) (string, error) {
	if err := a.resolveVolumes(ctx, &want); err != nil {
		return "", err
	}
	have, err := a.Client.Pods.Find(ctx, want.Name)
	switch {
	case client.IsNotFound(err):
		return "created", a.create(ctx, want)
	case err != nil:
		return "", err
	}
	if have.DeletionRequestedAt != nil { // the name can be used again once the pod is deleted
		if a.dry() { // the API cannot check a pod while its name and volumes are in use
			return "created", nil
		}
		if err := a.UntilGone(ctx, kind.PodObject(a.Client, have)); err != nil {
			return "", err
		}
		return "created", a.create(ctx, want)
	}
	before := have
	before.Spec.SecurityGroups, before.Spec.Resources = want.Spec.SecurityGroups, want.Spec.Resources // they can change
	differ := manifest.DiffPod(want.PodCreate, before)
	switch {
	case len(differ) == 0:
		return a.change(ctx, want, have)
	case !a.Replace:
		return "", exit.ConflictError{Detail: "the pod exists and differs in " + strings.Join(differ, ", ") +
			"; only the size, the labels, the annotations and the security groups of a pod can be changed; --replace deletes it and creates it again"}
	case a.dry():
		return "replaced", nil
	}
	if err := a.haveImages(ctx, want); err != nil { // before the old pod is deleted
		return "", err
	}
	o := kind.PodObject(a.Client, have)
	if err := o.Delete(ctx); err != nil && !client.IsNotFound(err) {
		return "", err
	}
	if err := a.UntilGone(ctx, o); err != nil {
		return "", err
	}
	return "replaced", a.create(ctx, want)
}

// change changes what can be changed of a pod: what relabel changes, and its size, also while it runs.
func (a *Application) change(ctx context.Context, want manifest.Pod, have openapi.Pod) (string, error) {
	size := want.Spec.Resources
	if size == have.Spec.Resources {
		return a.relabel(ctx, want, have)
	}
	if a.DryRun != Client { // before the labels, because it can be refused
		if _, err := a.Client.Pods.Resize(ctx, have.ID, openapi.PodResize{CPUMillis: &size.CPUMillis, MemoryMiB: &size.MemoryMiB}, a.dry()); err != nil {
			return "", err
		}
		ctx = client.IfMatch(ctx, "") // it has changed the ETag
	}
	done, err := a.relabel(ctx, want, have)
	if done == "unchanged" {
		done = "resized"
	}
	return done, err
}

// relabel gives a pod the labels, annotations and security groups of its document. A pod needs no replacement for that.
func (a *Application) relabel(ctx context.Context, want manifest.Pod, have openapi.Pod) (string, error) {
	labels := labelChanges(openapi.Value(want.Labels), have.Labels)
	annotations := map[string]*string(labelChanges(openapi.Value(want.Annotations), openapi.Value(have.Annotations)))
	update := openapi.PodUpdate{Labels: &labels, Annotations: &annotations}
	if groups := openapi.Value(want.Spec.SecurityGroups); !slices.Equal(groups, openapi.Value(have.Spec.SecurityGroups)) {
		update.SecurityGroups = new(append(openapi.SecurityGroupNames{}, groups...))
	}
	switch {
	case len(labels)+len(annotations) == 0 && update.SecurityGroups == nil:
		return "unchanged", nil
	case a.dry():
		return "changed", nil
	}
	_, err := a.Client.Pods.Update(ctx, have.ID, update)
	return "changed", err
}

// resolveVolumes replaces the names of volumes by their IDs. In a dry run, it also checks that volumes exist that a document names by their IDs.
func (a *Application) resolveVolumes(ctx context.Context, pod *manifest.Pod) error {
	if pod.Spec.Volumes == nil {
		return nil
	}
	volumes := slices.Clone(*pod.Spec.Volumes)
	for i, v := range volumes {
		if snapshot, ok := pod.SnapshotNames[v.Name]; ok {
			found, err := a.Client.Snapshots.Find(ctx, snapshot)
			if err != nil {
				return inField(err, fmt.Sprintf("spec.volumes[%d].snapshotId", i))
			}
			volumes[i].SnapshotID = &found.ID
			continue
		}
		name, named := pod.VolumeNames[v.Name]
		if planned, isPlanned := a.planned[name]; isPlanned {
			volumes[i].VolumeID = &planned
			continue
		}
		switch {
		case v.VolumeID == nil && !named: // a config, a secret or an empty directory
			continue
		case !named && a.dry():
			name = v.VolumeID.String()
		case !named:
			continue
		}
		found, err := a.Client.Volumes.Find(ctx, name)
		if err != nil {
			return inField(err, fmt.Sprintf("spec.volumes[%d].volumeId", i))
		}
		volumes[i].VolumeID = &found.ID
	}
	pod.Spec.Volumes = &volumes
	return nil
}

// inField says which field an error is about, unless the error says so itself.
func inField(err error, field string) error {
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Field == "" {
		refused.Field = field
	}
	return err
}

func (a *Application) create(ctx context.Context, want manifest.Pod) error {
	switch a.DryRun {
	case Client:
		return nil
	case Server:
		_, err := a.Client.Pods.DryRun(ctx, want.PodCreate)
		return err
	}
	if err := a.haveImages(ctx, want); err != nil {
		return err
	}
	_, err := a.Client.Pods.Create(ctx, want.PodCreate)
	return err
}

func (a *Application) haveImages(ctx context.Context, want manifest.Pod) error {
	done := map[string]bool{}
	for _, c := range slices.Concat(openapi.Value(want.Spec.InitContainers), want.Spec.Containers) {
		if !done[c.Image] {
			if err := a.HaveImage(ctx, c.Image, want.RegistrySecrets); err != nil {
				return err
			}
			done[c.Image] = true
		}
	}
	return nil
}
