// SPDX-License-Identifier: Apache-2.0

package operators

import (
	"context"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// UnknownObjects are objects in Ceph that the database has never known.
var UnknownObjects = kind.Kind[openapi.UnknownObject]{
	View: print.View[openapi.UnknownObject]{
		Kind: "unknown-object",
		Name: func(o openapi.UnknownObject) string { return o.Name },
		Columns: []print.Column[openapi.UnknownObject]{
			print.Col("NAME", func(o openapi.UnknownObject) string { return o.Name }),
			print.Col("KIND", func(o openapi.UnknownObject) string { return string(o.Kind) }),
			print.Col("STATE", func(o openapi.UnknownObject) string {
				if o.Approved {
					return "Removing"
				}
				return "Kept"
			}),
			print.Col("FOUND", func(o openapi.UnknownObject) string { return print.Age(o.FoundAt) }),
		},
	},
	Plural: "unknown-objects", Aliases: []string{"unknown-object"}, Short: "List objects in Ceph that the database has never known, and remove them",
	ID:     func(o openapi.UnknownObject) string { return o.Name },
	NoID:   true,
	IfNone: "everything in Ceph has an owner",
	List: func(ctx context.Context, c *client.Client, _ kind.Query) iter.Seq2[openapi.UnknownObject, error] {
		return client.Each(c.UnknownObjects(ctx))
	},
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.UnknownObject, error) {
		return client.FindIn(client.Each(c.UnknownObjects(ctx)), "unknown object", name, func(o openapi.UnknownObject) []string { return []string{o.Name} })
	},
}

// RemoveUnknown makes the command that approves the removal of unknown objects.
func RemoveUnknown(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME...",
		Short: "Remove unknown objects from Ceph; their data is lost",
		Long: `Remove unknown objects from Ceph. Their data is lost. The leading server removes
them within a minute, unless they are in use or have an owner by then.`,
		Example: "  husk unknown-objects remove vol-92994fef-6455-4e73-a447-69fc2fe37846\n  husk unknown-objects remove --all",
	}
	all := cmd.Flags().Bool("all", false, "remove all unknown objects")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all != (len(args) == 0) {
			return exit.Usagef("give either names or --all")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		if *all {
			objects, err := c.UnknownObjects(cmd.Context())
			if err != nil {
				return err
			}
			for _, o := range objects {
				args = append(args, o.Name)
			}
		}
		for _, name := range args {
			if err := c.DeleteUnknownObject(cmd.Context(), kind.Bare("unknown-object", name)); err != nil {
				return fmt.Errorf("unknown-object/%s: %w", print.Clean(name), err)
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "unknown-object/%s will be removed\n", print.Clean(name)); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
