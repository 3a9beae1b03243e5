// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/manifest"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

type applyFlags struct {
	files         []string
	replace, wait bool
	dryRun        string
	timeout       time.Duration
}

func applyCommand(a *app) *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create the objects that documents describe, unless they exist",
		Long: `Create the objects that documents describe, unless they exist. A file is YAML or
JSON with one document or several. Use - for standard input. A directory means all
of its .yaml, .yml and .json files. husk does nothing unless all documents are
valid.

A document is the body of the API request that creates the object, plus apiVersion
and kind:

  apiVersion: husk/v1
  kind: Volume
  name: data
  sizeGiB: 10
  ---
  apiVersion: husk/v1
  kind: Pod
  name: web
  labels: {app: web}
  spec:
    resources: {cpuMillis: 500, memoryMiB: 256}
    volumes: [{name: data, volumeName: data}]
    containers:
      - name: nginx
        image: registry.example.com/nginx:1.22
        volumeMounts: [{volume: data, mountPath: /var/www}]

A pod names a volume with volumeName, or with volumeId as in the API. An Image
needs a field named reference. Images are applied first, then volumes, then pods.
husk imports the images that pods need and that are not imported yet.

husk also accepts a Pod, a PersistentVolumeClaim and a List of Kubernetes, such as
the output of kubectl. The size of the virtual machine is the sum of the
containers' limits. For a container without a limit, its request counts. A claim
becomes a volume, which persistentVolumeClaim.claimName names. Fields that make no
difference to the pod are ignored, with a warning. Any other field without a
counterpart is an error that names the field and its line.

A pod cannot be changed. If it differs from its document, husk reports an error.
With --replace, husk deletes the pod and creates it again; the pod's volumes keep
their data.

--dry-run=client compares the documents with the existing objects. With
--dry-run=server, the API also checks each object that would be created, including
its name, its volumes and the quota, without storing it. Missing images are not
checked, and neither are pods that would be replaced.`,
		Example: `  husk apply -f web.yaml
  husk apply -f deploy/ --dry-run=server
  husk apply -f - --replace < web.json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.StringArrayVarP(&f.files, "filename", "f", nil, "read documents from this file or directory, or from standard input if it is -; may be repeated")
	fs.BoolVar(&f.replace, "replace", false, "delete a pod that differs, and create it again")
	fs.BoolVar(&f.wait, "wait", false, "wait until pods are running, volumes are available and images are ready")
	fs.StringVar(&f.dryRun, "dry-run", "none", "client: only print what husk would do; server: the API checks it as well; none: do it")
	fs.Lookup("dry-run").NoOptDefVal = "client"
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "maximum time to wait for each object")
	a.completeWords(cmd, "dry-run", "none", "client", "server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case len(f.files) == 0:
			return exit.Usagef("no documents given; add -f with a file, a directory, or - for standard input")
		case !slices.Contains([]string{"client", "server", "none"}, f.dryRun):
			return exit.Usagef("--dry-run: %q is not client, server or none", f.dryRun)
		}
		docs, err := a.documents(f.files)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		return (&application{app: a, client: c, flags: f}).all(cmd.Context(), docs)
	}
	return cmd
}

// documents reads files. Objects that others need come first.
func (a *app) documents(files []string) ([]manifest.Document, error) {
	docs, err := manifest.Load(files, a.in)
	if problems, ok := errors.AsType[manifest.MistakeErrors](err); ok {
		var each []error
		for _, p := range problems.Unwrap() {
			each = append(each, exit.DocumentError{Err: p})
		}
		return nil, errors.Join(each...)
	}
	if err != nil {
		return nil, err
	}
	order := []string{"image", "volume", "pod"}
	slices.SortStableFunc(docs, func(x, y manifest.Document) int {
		return slices.Index(order, x.Kind()) - slices.Index(order, y.Kind())
	})
	return docs, nil
}

// refsOf returns the objects of documents. Objects that need others come first.
func (a *app) refsOf(files []string) ([]kind.Ref, error) {
	docs, err := a.documents(files)
	if err != nil {
		return nil, err
	}
	slices.Reverse(docs)
	var refs []kind.Ref
	for _, d := range docs {
		refs = append(refs, kind.Ref{Kind: d.Kind(), Name: d.Name()})
	}
	return refs, nil
}

// application is one call of husk apply.
type application struct {
	*app

	client  *client.Client
	flags   applyFlags
	planned map[string]uuid.UUID // volumes that husk would create if this were not a dry run, with IDs that stand for them
}

func (a *application) dry() bool { return a.flags.dryRun != "none" }

// all applies one document after the other. It continues after one that fails.
func (a *application) all(ctx context.Context, docs []manifest.Document) error {
	a.planned = map[string]uuid.UUID{}
	var failures []error
	var waitFor []kind.Ref
	for _, d := range docs {
		for _, warning := range d.Warnings {
			fmt.Fprintln(a.errs, "husk: warning:", print.Clean(warning))
		}
		var done string
		var err error
		switch {
		case d.Image != nil:
			done, err = a.image(ctx, *d.Image)
		case d.Volume != nil:
			done, err = a.volume(ctx, *d.Volume)
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
		case a.flags.dryRun == "server":
			done += " (server dry run)"
		case a.dry():
			done += " (dry run)"
		}
		fmt.Fprintln(a.out, print.Clean(d.Ref()), done)
		waitFor = append(waitFor, kind.Ref{Kind: d.Kind(), Name: d.Name()})
	}
	if a.flags.wait && !a.dry() {
		for _, r := range waitFor {
			if err := a.await(ctx, a.client, r, "", a.flags.timeout); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}

func (a *application) image(ctx context.Context, want openapi.ImageImport) (string, error) {
	have, err := a.client.Images.Find(ctx, want.Reference)
	switch {
	case err == nil && have.State != openapi.ImageStateFailed && have.State != openapi.ImageStateDeleting:
		return "unchanged", nil
	case err != nil && !client.IsNotFound(err):
		return "", err
	case a.dry():
		return "imported", nil
	}
	if _, err := a.client.Images.Import(ctx, want); err != nil {
		return "", err
	}
	return "imported", nil
}

func (a *application) volume(ctx context.Context, want openapi.VolumeCreate) (string, error) {
	have, err := a.client.Volumes.Find(ctx, want.Name)
	switch {
	case err == nil && have.State == openapi.VolumeStateDeleting:
		return "", exit.ConflictError{Detail: "the volume is being deleted; run \"husk wait volume/" + want.Name + " --for deleted\", then apply again"}
	case err == nil:
		if differ := manifest.DiffVolume(want, have); len(differ) > 0 {
			return "", exit.ConflictError{Detail: "the volume exists and differs in " + strings.Join(differ, ", ") +
				"; a volume cannot be changed, and deleting it would delete its data"}
		}
		return "unchanged", nil
	case !client.IsNotFound(err):
		return "", err
	case a.flags.dryRun == "server":
		if _, err := a.client.Volumes.DryRun(ctx, want); err != nil {
			return "", err
		}
	case !a.dry():
		_, err := a.client.Volumes.Create(ctx, want)
		return "created", err
	}
	a.planned[want.Name] = uuid.New()
	return "created", nil
}

func (a *application) pod(ctx context.Context, want manifest.Pod) (string, error) {
	if err := a.resolveVolumes(ctx, &want); err != nil {
		return "", err
	}
	have, err := a.client.Pods.Find(ctx, want.Name)
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
		if err := a.untilGone(ctx, kind.PodObject(a.client, have), a.flags.timeout); err != nil {
			return "", err
		}
		return "created", a.create(ctx, want)
	}
	differ := manifest.DiffPod(want.PodCreate, have)
	switch {
	case len(differ) == 0:
		return "unchanged", nil
	case !a.flags.replace:
		return "", exit.ConflictError{Detail: "the pod exists and differs in " + strings.Join(differ, ", ") +
			"; a pod cannot be changed; --replace deletes it and creates it again"}
	case a.dry():
		return "replaced", nil
	}
	if err := a.haveImages(ctx, want); err != nil { // before the old pod is deleted
		return "", err
	}
	o := kind.PodObject(a.client, have)
	if err := o.Delete(ctx); err != nil && !client.IsNotFound(err) {
		return "", err
	}
	if err := a.untilGone(ctx, o, a.flags.timeout); err != nil {
		return "", err
	}
	return "replaced", a.create(ctx, want)
}

// resolveVolumes replaces the names of volumes by their IDs. In a dry run, it also checks that volumes exist that a document names by their IDs.
func (a *application) resolveVolumes(ctx context.Context, pod *manifest.Pod) error {
	if pod.Spec.Volumes == nil {
		return nil
	}
	volumes := slices.Clone(*pod.Spec.Volumes)
	for i, v := range volumes {
		name, named := pod.VolumeNames[v.Name]
		if planned, isPlanned := a.planned[name]; isPlanned {
			volumes[i].VolumeID = planned
			continue
		}
		switch {
		case !named && a.dry():
			name = v.VolumeID.String()
		case !named:
			continue
		}
		found, err := a.client.Volumes.Find(ctx, name)
		if refused, ok := errors.AsType[*client.Error](err); ok && refused.Field == "" {
			refused.Field = fmt.Sprintf("spec.volumes[%d].volumeId", i)
		}
		if err != nil {
			return err
		}
		volumes[i].VolumeID = found.ID
	}
	pod.Spec.Volumes = &volumes
	return nil
}

func (a *application) create(ctx context.Context, want manifest.Pod) error {
	switch a.flags.dryRun {
	case "client":
		return nil
	case "server":
		_, err := a.client.Pods.DryRun(ctx, want.PodCreate)
		return err
	}
	if err := a.haveImages(ctx, want); err != nil {
		return err
	}
	_, err := a.client.Pods.Create(ctx, want.PodCreate)
	return err
}

func (a *application) haveImages(ctx context.Context, want manifest.Pod) error {
	done := map[string]bool{}
	for _, c := range want.Spec.Containers {
		if !done[c.Image] {
			if err := a.haveImage(ctx, a.client, c.Image, a.flags.timeout); err != nil {
				return err
			}
			done[c.Image] = true
		}
	}
	return nil
}
