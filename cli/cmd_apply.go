// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/apply"
	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/manifest"
	"husk/client"
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

What husk prints of an object with -o yaml or -o json is such a document too: its
ID, its state and its times are ignored.

A pod names a volume with volumeName, or with volumeId as in the API. An Image
needs a field named reference. Images are applied first, then volumes, configs,
secrets, networks, security groups, services and ingresses, then pods, then
addresses. The target of an Address is {service: NAME} or {pod: NAME, ports: […]}.
husk imports the images that pods need and that are not imported yet.

husk also accepts a Pod, a PersistentVolumeClaim, a ConfigMap, a Secret, a Service,
an Ingress and a List of Kubernetes, such as the output of kubectl. The size of the
virtual machine is the sum of the containers' limits. For a container without a
limit, its request counts. A claim becomes a volume, which
persistentVolumeClaim.claimName names. A Service of the type LoadBalancer becomes a
service with a floating address.
A NetworkPolicy becomes security groups.
Fields that make no difference are ignored, with a warning. Any other field
without a counterpart is an error that names the field and its line.

A pod gets the size, the labels, the annotations and the security groups of its
document, also while it runs. If it differs in anything else, husk reports an error.
With --replace, husk deletes the pod and creates it again; the pod's volumes keep
their data.

Configs, secrets, services, security groups and addresses are changed to what their
documents say. A volume gets the class, the schedule and the larger size that its
document says.

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
	complete.Words(cmd, "dry-run", "none", "client", "server")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case len(f.files) == 0:
			return exit.Usagef("no documents given; add -f with a file, a directory, or - for standard input")
		case !slices.Contains([]string{apply.Client, apply.Server, apply.None}, f.dryRun):
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
		change := a.application(c, f.replace, f.timeout)
		change.Wait, change.DryRun = f.wait, f.dryRun
		return change.All(cmd.Context(), docs)
	}
	return cmd
}

// application makes objects what documents say.
func (a *app) application(c *client.Client, replace bool, timeout time.Duration) *apply.Application {
	return &apply.Application{
		Client: c, Out: a.out, Errs: a.errs, Replace: replace, DryRun: apply.None,
		Await:     func(ctx context.Context, r kind.Ref) error { return a.await(ctx, c, r, "", timeout) },
		UntilGone: func(ctx context.Context, o kind.Object) error { return a.untilGone(ctx, o, timeout) },
		HaveImage: func(ctx context.Context, image string, secrets []string) error {
			return a.haveImage(ctx, c, image, secrets, timeout)
		},
	}
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
	order := []string{"image", "volume", "config", "secret", "network", "security-group", "service", "ingress", "pod", "address"}
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
