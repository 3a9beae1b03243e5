package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

// object is one that was found by name: what delete and wait need of it, whatever its kind.
type object struct {
	ref    string // pod/web
	id     uuid.UUID
	delete func(context.Context) (*http.Response, error)
	// look reads the object again and says how it is; nil for kinds that are there or gone and nothing between.
	look func(context.Context) (state string, message *string, err error)
}

// finders find objects by kind.
var finders = map[string]func(ctx context.Context, c *openapi.Client, name string) (object, error){
	"pod": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		p, err := findPod(ctx, c, name)
		return podObject(c, p), err
	},
	"volume": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		v, err := findVolume(ctx, c, name)
		return volumeObject(c, v), err
	},
	"image": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		i, err := findImage(ctx, c, name)
		return imageObject(c, i), err
	},
	"service-account": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		s, err := findAccount(ctx, c, name)
		return object{ref: serviceAccounts.ref(s), id: s.ID, delete: func(ctx context.Context) (*http.Response, error) {
			return c.DeleteServiceAccount(ctx, s.ID, nil)
		}}, err
	},
	"api-key": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		k, err := findKey(ctx, c, name, "")
		return object{ref: keyView.ref(k), id: k.ClientID, delete: func(ctx context.Context) (*http.Response, error) {
			return deleteKey(ctx, c, k)
		}}, err
	},
	"user": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		u, err := findUser(ctx, c, name)
		return object{ref: users.ref(u), id: u.ID, delete: func(ctx context.Context) (*http.Response, error) {
			return c.DeleteUser(ctx, u.ID, nil)
		}}, err
	},
	"issuer": func(ctx context.Context, c *openapi.Client, name string) (object, error) {
		i, err := findIssuer(ctx, c, name)
		return object{ref: issuers.ref(i), id: i.ID, delete: func(ctx context.Context) (*http.Response, error) {
			return c.DeleteOIDCIssuer(ctx, i.ID, nil)
		}}, err
	},
}

func podObject(c *openapi.Client, p openapi.Pod) object {
	return object{
		ref: podView.ref(p), id: p.ID,
		delete: func(ctx context.Context) (*http.Response, error) { return c.DeletePod(ctx, p.ID, nil) },
		look: func(ctx context.Context) (string, *string, error) {
			p, err := answer[openapi.Pod](c.GetPod(ctx, p.ID))
			return string(p.Status.Phase), p.Status.Message, err
		},
	}
}

func volumeObject(c *openapi.Client, v openapi.Volume) object {
	return object{
		ref: volumeView.ref(v), id: v.ID,
		delete: func(ctx context.Context) (*http.Response, error) { return c.DeleteVolume(ctx, v.ID, nil) },
		look: func(ctx context.Context) (string, *string, error) {
			v, err := answer[openapi.Volume](c.GetVolume(ctx, v.ID))
			return string(v.State), v.Message, err
		},
	}
}

func imageObject(c *openapi.Client, i openapi.Image) object {
	return object{
		ref: imageView.ref(i), id: i.ID,
		delete: func(ctx context.Context) (*http.Response, error) { return c.DeleteImage(ctx, i.ID, nil) },
		look: func(ctx context.Context) (string, *string, error) {
			i, err := answer[openapi.Image](c.GetImage(ctx, i.ID))
			return string(i.State), imageMessage(i, coarseStep), err
		},
	}
}

// ref is a kind and a name as they were typed.
type ref struct{ kind, name string }

func (r ref) String() string { return r.kind + "/" + r.name }

// parseRefs reads KIND NAME… or KIND/NAME….
func parseRefs(args []string) ([]ref, error) {
	if kind, ok := kindOf(args[0]); ok {
		if len(args) == 1 {
			return nil, usagef("which %s? give a name", kind)
		}
		var refs []ref
		for _, name := range args[1:] {
			refs = append(refs, ref{kind, bare(kind, name)})
		}
		return checkKinds(refs)
	}
	var refs []ref
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		kind, known := kindOf(word)
		if !ok || !known || name == "" {
			return nil, usagef("%q is not KIND/NAME, such as pod/web; write KIND NAME… or KIND/NAME…", arg)
		}
		refs = append(refs, ref{kind, name})
	}
	return checkKinds(refs)
}

func checkKinds(refs []ref) ([]ref, error) {
	for _, r := range refs {
		if finders[r.kind] == nil {
			return nil, usagef("%s: objects of this kind come and go by themselves", r)
		}
	}
	return refs, nil
}

// findRef finds the id of KIND/NAME; a name alone is of the preset kind.
func findRef(ctx context.Context, c *openapi.Client, arg, preset string) (uuid.UUID, error) {
	refs, err := parseRefs([]string{arg})
	if err != nil {
		refs = []ref{{preset, arg}}
	}
	o, err := finders[refs[0].kind](ctx, c, refs[0].name)
	return o.id, err
}

// deletion is how to delete.
type deletion struct {
	wait, ignoreMissing bool
	timeout             time.Duration
}

func deleteFlags(cmd *cobra.Command) *deletion {
	var d deletion
	cmd.Flags().BoolVar(&d.wait, "wait", false, "wait until they are gone")
	cmd.Flags().DurationVar(&d.timeout, "timeout", 10*time.Minute, "how long to wait for each")
	cmd.Flags().BoolVar(&d.ignoreMissing, "ignore-not-found", false, "what is not there counts as deleted")
	return &d
}

func deleteCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete KIND NAME|ID… | KIND/NAME… | -f FILE",
		Aliases: []string{"rm"},
		Short:   "Delete pods, volumes with their data, images, and who may do what",
		Example: `  husk delete pod web db --wait
  husk delete pod/web volume/data
  husk delete pods -l app=web
  husk delete -f web.yaml`,
		ValidArgsFunction: a.completeKindThenNames,
	}
	d := deleteFlags(cmd)
	files := cmd.Flags().StringArrayP("filename", "f", nil, "delete what these documents are for; - is standard input, a directory is all in it")
	selector := cmd.Flags().StringP("selector", "l", "", "pods or volumes with these labels")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var refs []ref
		var err error
		switch {
		case len(*files) > 0 && (len(args) > 0 || *selector != ""), *selector != "" && len(args) != 1:
			return usagef("names, -f and one KIND with -l exclude each other")
		case len(*files) > 0:
			refs, err = a.refsOf(*files)
		case *selector != "":
		case len(args) == 0:
			return usagef("what? give KIND NAME…, KIND/NAME…, -f FILE, or KIND with -l")
		default:
			refs, err = parseRefs(args)
		}
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		if *selector != "" {
			if refs, err = selected(cmd.Context(), c, args[0], *selector); err != nil {
				return err
			}
			if len(refs) == 0 {
				a.hint("none have these labels")
			}
		}
		return a.deleteAll(cmd.Context(), c, refs, *d)
	}
	return cmd
}

// deleteKind makes the delete that stands below the commands of a kind.
func deleteKind(a *app, kind string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "delete NAME|ID…",
		Aliases:           []string{"rm"},
		Short:             "Delete by name or id",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeNames(kind),
	}
	d := deleteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		var refs []ref
		for _, name := range names(kind, args) {
			refs = append(refs, ref{kind, name})
		}
		return a.deleteAll(cmd.Context(), c, refs, *d)
	}
	return cmd
}

// selected finds what has labels.
func selected(ctx context.Context, c *openapi.Client, word, selector string) ([]ref, error) {
	kind, _ := kindOf(word)
	var refs []ref
	q := query{selector: &selector}
	switch kind {
	case "pod":
		all, err := pods.list(ctx, c, q)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			refs = append(refs, ref{kind, p.ID.String()})
		}
	case "volume":
		all, err := volumes.list(ctx, c, q)
		if err != nil {
			return nil, err
		}
		for _, v := range all {
			refs = append(refs, ref{kind, v.ID.String()})
		}
	default:
		return nil, usagef("--selector: only pods and volumes have labels, not %q", word)
	}
	return refs, nil
}

// deleteAll deletes one after the other; one that cannot be deleted does not keep the others. Pods come first, and are waited for before
// the volumes and images that they may use. What is left is waited for at the end, if that was asked for.
func (a *app) deleteAll(ctx context.Context, c *openapi.Client, refs []ref, d deletion) error {
	refs = slices.Clone(refs)
	slices.SortStableFunc(refs, func(x, y ref) int { return deleteOrder(x) - deleteOrder(y) })
	var failures []error
	var going []object
	waitForThem := func() {
		for _, o := range going {
			if err := a.untilGone(ctx, o, d.timeout); err != nil {
				failures = append(failures, err)
				continue
			}
			fmt.Fprintln(a.out, o.ref, "deleted")
		}
		going = nil
	}
	used := len(refs) > 0 && deleteOrder(refs[len(refs)-1]) > 0 // by pods, perhaps
	for i, r := range refs {
		if i > 0 && deleteOrder(r) != deleteOrder(refs[i-1]) {
			waitForThem()
		}
		o, err := finders[r.kind](ctx, c, r.name)
		if err == nil {
			_, err = answer[struct{}](o.delete(ctx))
		}
		switch {
		case isNotFound(err) && d.ignoreMissing:
		case err != nil:
			failures = append(failures, err)
		case o.look == nil:
			fmt.Fprintln(a.out, o.ref, "deleted")
		case d.wait || used && deleteOrder(r) == 0:
			going = append(going, o)
		default:
			fmt.Fprintln(a.out, o.ref, "is being deleted")
		}
	}
	waitForThem()
	return errors.Join(failures...)
}

// deleteOrder puts what uses others before them.
func deleteOrder(r ref) int {
	if r.kind == "pod" {
		return 0
	}
	return 1
}

// untilGone waits until an object answers that there is none.
func (a *app) untilGone(ctx context.Context, o object, timeout time.Duration) error {
	return a.until(ctx, timeout, o.ref, func() (bool, string, error) {
		s, message, err := o.look(ctx)
		if isNotFound(err) {
			return true, "gone", nil
		}
		return false, state(s, message), err
	})
}
