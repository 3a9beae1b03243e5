package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/cmd/husk/manifest"
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
		Short: "Order what documents describe, unless it is there already",
		Long: `Order what documents describe, unless it is there already. A file is YAML or
JSON with one document or several; - is standard input, a directory is all the
.yaml, .yml and .json files in it. Nothing is done unless all documents are right.

A document is an order of the API with apiVersion and kind before it:

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

A volume of a pod is called by volumeName, or by volumeId as in the API. An Image
has a reference. Images come first, then volumes, then pods; an image that a pod
names is imported if it is not there.

A Pod of Kubernetes' v1 is taken too where its fields have a counterpart: the
machine is as large as its containers' limits together (requests where there is
no limit), and persistentVolumeClaim.claimName names a volume. A field without a
counterpart is an error that names it.

A pod cannot be changed. One that differs from its document is an error, or with
--replace it is deleted and ordered anew; its volumes keep their data.`,
		Example: `  husk apply -f web.yaml
  husk apply -f deploy/ --dry-run=client
  husk apply -f - --replace < web.json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.StringArrayVarP(&f.files, "filename", "f", nil, "a file, a directory, or - for standard input; may be repeated")
	fs.BoolVar(&f.replace, "replace", false, "delete a pod that differs, and order it anew")
	fs.BoolVar(&f.wait, "wait", false, "wait until pods run, volumes are available and images are ready")
	fs.StringVar(&f.dryRun, "dry-run", "none", "client: say what would be done and do nothing; none")
	fs.Lookup("dry-run").NoOptDefVal = "client"
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for each")
	a.completeWords(cmd, "dry-run", "none", "client")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case len(f.files) == 0:
			return usagef("-f is needed: a file, a directory, or - for standard input")
		case f.dryRun != "client" && f.dryRun != "none":
			return usagef("--dry-run: %q is not client or none", f.dryRun)
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

// documents reads files, and puts what others need first.
func (a *app) documents(files []string) ([]manifest.Document, error) {
	docs, err := manifest.Load(files, a.in)
	if problems, ok := errors.AsType[manifest.MistakeErrors](err); ok {
		var each []error
		for _, p := range problems.Unwrap() {
			each = append(each, documentError{p})
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

// refsOf are the objects that documents are for, those that need others first.
func (a *app) refsOf(files []string) ([]ref, error) {
	docs, err := a.documents(files)
	if err != nil {
		return nil, err
	}
	slices.Reverse(docs)
	var refs []ref
	for _, d := range docs {
		refs = append(refs, ref{d.Kind(), d.Name()})
	}
	return refs, nil
}

// application is one call of apply.
type application struct {
	*app
	client  *openapi.Client
	flags   applyFlags
	planned map[string]bool // volumes that a dry run would have made
}

func (a *application) dry() bool { return a.flags.dryRun == "client" }

// all applies one document after the other; one that fails does not keep the others.
func (a *application) all(ctx context.Context, docs []manifest.Document) error {
	a.planned = map[string]bool{}
	var failures []error
	var waitFor []ref
	for _, d := range docs {
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
			failures = append(failures, fmt.Errorf("%s, %s: %w", d.Where, d.Ref(), err))
			continue
		}
		if a.dry() && done != "unchanged" {
			done += " (dry run)"
		}
		fmt.Fprintln(a.out, clean(d.Ref()), done)
		waitFor = append(waitFor, ref{d.Kind(), d.Name()})
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
	have, err := findImage(ctx, a.client, want.Reference)
	switch {
	case err == nil && have.State != openapi.ImageStateFailed && have.State != openapi.ImageStateDeleting:
		return "unchanged", nil
	case err != nil && !isNotFound(err):
		return "", err
	case a.dry():
		return "imported", nil
	}
	if _, err := importImage(ctx, a.client, want); err != nil {
		return "", err
	}
	return "imported", nil
}

func (a *application) volume(ctx context.Context, want openapi.VolumeCreate) (string, error) {
	have, err := findVolume(ctx, a.client, want.Name)
	switch {
	case err == nil && have.State == openapi.VolumeStateDeleting:
		return "", conflictError{"it is being deleted; apply again when husk wait volume/" + want.Name + " --for deleted returns"}
	case err == nil:
		if differ := manifest.DiffVolume(want, have); len(differ) > 0 {
			return "", conflictError{"it is there and differs in " + strings.Join(differ, ", ") +
				"; a volume cannot be changed, and deleting it would delete its data"}
		}
		return "unchanged", nil
	case !isNotFound(err):
		return "", err
	case a.dry():
		a.planned[want.Name] = true
		return "created", nil
	}
	if _, err := createVolume(ctx, a.client, want); err != nil {
		return "", err
	}
	return "created", nil
}

func (a *application) pod(ctx context.Context, want manifest.Pod) (string, error) {
	if err := a.resolveVolumes(ctx, &want); err != nil {
		return "", err
	}
	have, err := findPod(ctx, a.client, want.Name)
	switch {
	case isNotFound(err):
		return "created", a.order(ctx, want)
	case err != nil:
		return "", err
	}
	if have.DeletionRequestedAt != nil { // its name is free soon
		if !a.dry() {
			if err := a.untilGone(ctx, podObject(a.client, have), a.flags.timeout); err != nil {
				return "", err
			}
		}
		return "created", a.order(ctx, want)
	}
	differ := manifest.DiffPod(want.PodCreate, have)
	switch {
	case len(differ) == 0:
		return "unchanged", nil
	case !a.flags.replace:
		return "", conflictError{"it is there and differs in " + strings.Join(differ, ", ") +
			"; a pod cannot be changed, --replace deletes it and orders it anew"}
	case a.dry():
		return "replaced", nil
	}
	if err := a.haveImages(ctx, want); err != nil { // before the old one goes
		return "", err
	}
	o := podObject(a.client, have)
	if _, err := answer[struct{}](o.delete(ctx)); err != nil && !isNotFound(err) {
		return "", err
	}
	if err := a.untilGone(ctx, o, a.flags.timeout); err != nil {
		return "", err
	}
	return "replaced", a.order(ctx, want)
}

// resolveVolumes puts ids in the place of names.
func (a *application) resolveVolumes(ctx context.Context, pod *manifest.Pod) error {
	if pod.Spec.Volumes == nil {
		return nil
	}
	volumes := slices.Clone(*pod.Spec.Volumes)
	for i, v := range volumes {
		name, named := pod.VolumeNames[v.Name]
		if !named || v.VolumeID != uuid.Nil || a.planned[name] {
			continue
		}
		found, err := findVolume(ctx, a.client, name)
		if err != nil {
			return err
		}
		volumes[i].VolumeID = found.ID
	}
	pod.Spec.Volumes = &volumes
	return nil
}

func (a *application) order(ctx context.Context, want manifest.Pod) error {
	if a.dry() {
		return nil
	}
	if err := a.haveImages(ctx, want); err != nil {
		return err
	}
	_, err := createPod(ctx, a.client, want.PodCreate)
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
