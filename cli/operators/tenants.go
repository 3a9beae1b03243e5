// SPDX-License-Identifier: Apache-2.0

// Package operators has the commands for tenants and for nodes that join.
package operators

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// Parts is what the commands share with all others.
type Parts struct {
	Connect func() (*client.Client, error)
	// Output adds the flags for the format of the output.
	Output func(cmd *cobra.Command, formats ...string) func() (print.Printer, error)
	Hint   func(format string, args ...any)
}

// Tenants are those whose objects Husk keeps apart.
var Tenants = kind.Kind[openapi.Tenant]{
	View: print.View[openapi.Tenant]{
		Kind: "tenant",
		Name: func(t openapi.Tenant) string { return t.Name },
		Columns: []print.Column[openapi.Tenant]{
			print.Col("NAME", func(t openapi.Tenant) string { return t.Name }),
			print.Col("PODS", func(t openapi.Tenant) string { return strconv.Itoa(t.Quota.Pods) }),
			print.Col("CPUS", func(t openapi.Tenant) string { return print.Cores(t.Quota.CPUMillis) }),
			print.Col("MEMORY", func(t openapi.Tenant) string { return fmt.Sprintf("%dMi", t.Quota.MemoryMiB) }),
			print.Col("VOLUMES", func(t openapi.Tenant) string { return fmt.Sprintf("%dGi", t.Quota.VolumeGiB) }),
			print.WideCol("RANGE", func(t openapi.Tenant) string { return t.NetworkCidr }),
			print.Col("AGE", func(t openapi.Tenant) string { return print.AgeOf(&t.CreatedAt) }),
			print.WideCol("ID", func(t openapi.Tenant) string { return t.ID.String() }),
		},
	},
	Plural: "tenants", Aliases: []string{"tenant"}, Short: "List tenants and their limits, and create, change and delete tenants",
	ID: func(t openapi.Tenant) string { return t.ID.String() },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.Tenant, error) {
		return c.Tenants.Find(ctx, name)
	},
	IfNone: "to create one, run \"husk tenant create NAME\"",
	List: func(ctx context.Context, c *client.Client, _ kind.Query) iter.Seq2[openapi.Tenant, error] {
		return c.Tenants.List(ctx)
	},
}

const limitHelp = "change a limit, such as pods=20 or volumeClassGiB.fast=50; may be repeated"

// limits reads limits, each as NAME=NUMBER with a name of the API. volumeClassGiB.CLASS is the limit of a volume class, and none removes it.
func limits(texts []string) (change openapi.QuotaChange, _ error) {
	values, classes := map[string]any{}, map[string]int64{}
	for _, text := range texts {
		name, number, _ := strings.Cut(text, "=")
		class, ofClass := strings.CutPrefix(name, "volumeClassGiB.")
		if ofClass && number == "none" {
			classes[class] = -1
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 {
			return change, exit.Usagef("--limit: %q is not a limit; write NAME=NUMBER, such as pods=20", text)
		}
		if ofClass {
			classes[class] = n
		} else {
			values[name] = n
		}
	}
	if len(classes) > 0 {
		values["volumeClassGiB"] = classes
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return change, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&change); err != nil {
		return change, exit.Usagef("--limit: %w; the names are those of the quota in the API, such as pods, cpuMillis, memoryMiB, volumes, volumeGiB and images", err)
	}
	return change, nil
}

// Create makes the command that creates a tenant.
func Create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create a tenant",
		Long:    "Create a tenant. It has no key yet. To create one for its first owner, run\n\"husk tenant api-key\".",
		Example: "  husk tenant create acme --limit pods=50 --limit volumeGiB=500",
		Args:    cobra.ExactArgs(1),
	}
	texts := cmd.Flags().StringArray("limit", nil, limitHelp)
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		quota, err := limits(*texts)
		if err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		created, err := c.Tenants.Create(cmd.Context(), openapi.TenantCreate{Name: args[0], Quota: &quota})
		if err != nil {
			return err
		}
		a.Hint("the tenant has no key yet; to create one, run \"husk tenant api-key %s\"", created.Name)
		return Tenants.Done(p, created, "created")
	}
	return cmd
}

// Set makes the command that changes the limits of a tenant.
func Set(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME|ID --limit LIMIT=NUMBER",
		Short: "Change limits of a tenant",
		Long: `Change limits of a tenant. A limit below what the tenant uses leaves its objects as
they are, and allows no new ones.`,
		Example: "  husk tenant set acme --limit pods=100",
		Args:    cobra.ExactArgs(1),
	}
	texts := cmd.Flags().StringArray("limit", nil, limitHelp)
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if len(*texts) == 0 {
			return exit.Usagef("nothing to change; add --limit")
		}
		quota, err := limits(*texts)
		if err != nil {
			return err
		}
		c, t, err := a.find(cmd, args[0])
		if err != nil {
			return err
		}
		changed, err := c.Tenants.Update(cmd.Context(), t.ID, openapi.TenantUpdate{Quota: quota})
		if err != nil {
			return err
		}
		return Tenants.Done(p, changed, "changed")
	}
	return cmd
}

// Delete makes the command that deletes a tenant.
func Delete(a Parts) *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME|ID", Short: "Delete a tenant that has no objects", Args: cobra.ExactArgs(1)}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, t, err := a.find(cmd, args[0])
		if err != nil {
			return err
		}
		if err := c.Tenants.Delete(cmd.Context(), t.ID); err != nil {
			return err
		}
		return Tenants.Done(p, t, "deleted")
	}
	return cmd
}

// Key makes the command that creates a key for an owner of a tenant.
func Key(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api-key TENANT",
		Short: "Create an API key for an owner of a tenant and show its secret once",
		Long: `Create an API key for an owner of a tenant and show its secret once. This is for the
first owner, and for a tenant that has lost all its owners.`,
		Example: "  husk tenant api-key acme --expires-in 90d",
		Args:    cobra.ExactArgs(1),
	}
	name := cmd.Flags().String("name", "first", "name of the key")
	account := cmd.Flags().String("service-account", "", "service account of the key, created as an owner if it does not exist\n(default: owner, or owner-2 and so on if owner is no owner any more)")
	expires := cmd.Flags().String("expires-in", "", "how long the key is valid, such as 12h or 90d (default: until it is deleted)")
	output := a.Output(cmd, "text", "json", "yaml") // not name: the secret would be lost
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		key := openapi.TenantKeyCreate{Name: *name}
		if *account != "" {
			key.ServiceAccount = account
		}
		if key.ExpiresInSeconds, err = parse.Lifetime("--expires-in", *expires); err != nil {
			return err
		}
		c, t, err := a.find(cmd, args[0])
		if err != nil {
			return err
		}
		created, err := c.Tenants.CreateKey(cmd.Context(), t.ID, key)
		if err != nil {
			return err
		}
		if printed, err := p.Value(created); printed {
			return err
		}
		_, err = fmt.Fprintf(p.Out, "HUSK_CLIENT_ID=%s\nHUSK_CLIENT_SECRET=%s\n", created.ClientID, print.Clean(created.ClientSecret))
		a.Hint("the secret is not shown again")
		return err
	}
	return cmd
}

func (a Parts) find(cmd *cobra.Command, name string) (*client.Client, openapi.Tenant, error) {
	c, err := a.Connect()
	if err != nil {
		return nil, openapi.Tenant{}, err
	}
	t, err := c.Tenants.Find(cmd.Context(), kind.Bare("tenant", name))
	return c, t, err
}
