// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/config"
	"husk/cli/connect"
	"husk/cli/exit"
	"husk/cli/print"
	"husk/client"
)

// contextRow is a context without its secrets.
type contextRow struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	API     string `json:"api"`
	Tenant  string `json:"tenant,omitempty"`
	Login   string `json:"login"`
	Who     string `json:"clientId,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
}

var contextView = print.View[contextRow]{
	Kind: "context",
	Name: func(c contextRow) string { return c.Name },
	Columns: []print.Column[contextRow]{
		print.Col("CURRENT", func(c contextRow) string {
			if c.Current {
				return "*"
			}
			return ""
		}),
		print.Col("NAME", func(c contextRow) string { return c.Name }),
		print.Col("API", func(c contextRow) string { return c.API }),
		print.Col("TENANT", func(c contextRow) string { return c.Tenant }),
		print.Col("LOGIN", func(c contextRow) string { return c.Login }),
		print.WideCol("CLIENT-ID", func(c contextRow) string { return c.Who }),
		print.WideCol("ISSUER", func(c contextRow) string { return c.Issuer }),
	},
}

func rowOf(name string, c config.Context, current bool) contextRow {
	row := contextRow{Name: name, Current: current, API: c.API, Tenant: c.Tenant, Login: "logged out"}
	switch {
	case c.APIKey != nil:
		row.Who = c.APIKey.ClientID
		if c.LoggedIn() {
			row.Login = "API key"
		}
	case c.OIDC != nil:
		row.Who, row.Issuer = c.OIDC.ClientID, c.OIDC.Issuer
		if c.LoggedIn() {
			row.Login = "OIDC"
		}
	}
	return row
}

func contextCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "context",
		Aliases: []string{"contexts", "ctx"},
		Short:   "List and change contexts (a context is an installation and a login)",
	}
	cmd.AddCommand(contextList(a), contextUse(a), contextShow(a), contextRename(a), contextDelete(a))
	return group(cmd)
}

func contextList(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List contexts", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(*cobra.Command, []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		_, c, err := connect.Contexts()
		if err != nil {
			return err
		}
		var rows []contextRow
		for _, name := range c.Names() {
			rows = append(rows, rowOf(name, c.Contexts[name], name == connect.Current(a.context, c)))
		}
		if os.Getenv("HUSK_API") != "" {
			a.hint("HUSK_API is set and takes precedence over the contexts")
		}
		if len(rows) == 0 && p.Tabular() {
			a.hint("no contexts yet; to create one, run \"husk login URL\"")
			return nil
		}
		return contextView.Show(p, rows)
	}
	return cmd
}

func contextUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a context the current context", Args: cobra.ExactArgs(1), ValidArgsFunction: complete.Contexts,
		RunE: func(_ *cobra.Command, args []string) error {
			store, _, err := connect.Contexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				if _, ok := c.Contexts[args[0]]; !ok {
					return client.NotFound("context", args[0])
				}
				c.CurrentContext = args[0]
				return nil
			})
			if err == nil {
				fmt.Fprintf(a.out, "context/%s is the current context\n", args[0])
			}
			return err
		},
	}
}

func contextShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAME]", Aliases: []string{"current"}, Short: "Show a context, or the current one, without its secrets",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: complete.Contexts,
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		store, c, err := connect.Contexts()
		if err != nil {
			return err
		}
		name := connect.Current(a.context, c)
		if len(args) == 1 {
			name = args[0]
		}
		if name == "" {
			return &client.LoginError{Detail: "there is no current context; to create one, run \"husk login URL\""}
		}
		context, ok := c.Contexts[name]
		if !ok {
			return client.NotFound("context", name)
		}
		row := rowOf(name, context, name == c.CurrentContext)
		if p.Format != "text" {
			return contextView.One(p, row)
		}
		var f print.Facts
		f.Add("Name:", row.Name)
		f.Add("API:", row.API)
		f.Add("Tenant:", row.Tenant)
		f.Add("Login:", row.Login)
		f.Add("Client ID:", row.Who)
		f.Add("Issuer:", row.Issuer)
		f.Add("File:", store.File())
		return f.Print(p.Out)
	}
	return cmd
}

func contextRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rename NAME NEW-NAME", Short: "Rename a context", Args: cobra.ExactArgs(2), ValidArgsFunction: complete.Contexts,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := config.CheckName(args[1]); err != nil {
				return exit.UsageError{Err: err}
			}
			store, _, err := connect.Contexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				context, ok := c.Contexts[args[0]]
				if !ok {
					return client.NotFound("context", args[0])
				}
				if _, taken := c.Contexts[args[1]]; taken {
					return exit.Usagef("context %q already exists", args[1])
				}
				delete(c.Contexts, args[0])
				c.Contexts[args[1]] = context
				if c.CurrentContext == args[0] {
					c.CurrentContext = args[1]
				}
				return nil
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "context/%s renamed\n", args[1])
			return store.ForgetToken(args[0])
		},
	}
}

func contextDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a context with its credentials", Args: cobra.ExactArgs(1), ValidArgsFunction: complete.Contexts,
		RunE: func(_ *cobra.Command, args []string) error {
			store, _, err := connect.Contexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				if _, ok := c.Contexts[args[0]]; !ok {
					return client.NotFound("context", args[0])
				}
				delete(c.Contexts, args[0])
				if c.CurrentContext == args[0] {
					c.CurrentContext = ""
				}
				return nil
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "context/%s deleted\n", args[0])
			return store.ForgetToken(args[0])
		},
	}
}
