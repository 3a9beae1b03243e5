package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

// deletable is what delete needs to know of a kind of object.
type deletable struct {
	kind   string
	find   func(ctx context.Context, c *openapi.Client, name string) (uuid.UUID, error)
	delete func(ctx context.Context, c *openapi.Client, id uuid.UUID) (*http.Response, error)
	// state reads the object again: what it is waiting for.
	state func(ctx context.Context, c *openapi.Client, id uuid.UUID) (string, error)
}

var deletables = []deletable{
	{
		kind: "pod",
		find: func(ctx context.Context, c *openapi.Client, name string) (uuid.UUID, error) {
			p, err := findPod(ctx, c, name)
			return p.ID, err
		},
		delete: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (*http.Response, error) {
			return c.DeletePod(ctx, id, nil)
		},
		state: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (string, error) {
			p, err := answer[openapi.Pod](c.GetPod(ctx, id))
			return state(string(p.Status.Phase), p.Status.Message), err
		},
	},
	{
		kind: "volume",
		find: func(ctx context.Context, c *openapi.Client, name string) (uuid.UUID, error) {
			v, err := findVolume(ctx, c, name)
			return v.ID, err
		},
		delete: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (*http.Response, error) {
			return c.DeleteVolume(ctx, id, nil)
		},
		state: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (string, error) {
			v, err := answer[openapi.Volume](c.GetVolume(ctx, id))
			return state(string(v.State), v.Message), err
		},
	},
	{
		kind: "image",
		find: func(ctx context.Context, c *openapi.Client, name string) (uuid.UUID, error) {
			i, err := findImage(ctx, c, name)
			return i.ID, err
		},
		delete: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (*http.Response, error) {
			return c.DeleteImage(ctx, id, nil)
		},
		state: func(ctx context.Context, c *openapi.Client, id uuid.UUID) (string, error) {
			i, err := answer[openapi.Image](c.GetImage(ctx, id))
			return state(string(i.State), i.Message), err
		},
	},
}

func deleteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "delete", Short: "Delete pods, volumes with their data, or images"}
	for _, d := range deletables {
		cmd.AddCommand(deleteKind(d))
	}
	return group(cmd)
}

func deleteKind(d deletable) *cobra.Command {
	cmd := &cobra.Command{
		Use:   d.kind + " NAME|ID…",
		Short: "Delete " + d.kind + "s by name or id",
		Args:  cobra.MinimumNArgs(1),
	}
	doWait := cmd.Flags().Bool("wait", false, "wait until they are gone")
	timeout := cmd.Flags().Duration("timeout", 10*time.Minute, "how long to wait for each")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := connect()
		if err != nil {
			return err
		}
		ids := map[string]uuid.UUID{}
		var failures []error
		for _, name := range args { // one that cannot be deleted does not keep the others
			id, err := d.find(ctx, c, name)
			if err == nil {
				_, err = answer[struct{}](d.delete(ctx, c, id))
			}
			if err != nil {
				failures = append(failures, err)
				continue
			}
			ids[name] = id
			if !*doWait {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s is being deleted\n", d.kind, name)
			}
		}
		for _, name := range args {
			id, ok := ids[name]
			if !ok || !*doWait {
				continue
			}
			err := until(ctx, *timeout, d.kind+" "+name, cmd.ErrOrStderr(), func() (bool, string, error) {
				state, err := d.state(ctx, c, id)
				if isNotFound(err) {
					return true, "gone", nil
				}
				return false, state, err
			})
			if err != nil {
				failures = append(failures, err)
				continue
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s deleted\n", d.kind, name)
		}
		return errors.Join(failures...)
	}
	return cmd
}
