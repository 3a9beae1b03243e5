package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"husk/cmd/husk/config"
)

// contextRow is a context as it is shown: without its secrets.
type contextRow struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	API     string `json:"api"`
	Tenant  string `json:"tenant,omitempty"`
	Login   string `json:"login"`
	Who     string `json:"clientId,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
}

var contextView = view[contextRow]{
	kind: "context",
	name: func(c contextRow) string { return c.Name },
	columns: []column[contextRow]{
		{"CURRENT", false, func(c contextRow) string {
			if c.Current {
				return "*"
			}
			return ""
		}},
		{"NAME", false, func(c contextRow) string { return c.Name }},
		{"API", false, func(c contextRow) string { return c.API }},
		{"TENANT", false, func(c contextRow) string { return c.Tenant }},
		{"LOGIN", false, func(c contextRow) string { return c.Login }},
		{"CLIENT-ID", true, func(c contextRow) string { return c.Who }},
		{"ISSUER", true, func(c contextRow) string { return c.Issuer }},
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
		Short:   "List and change contexts: which Husk to talk to, and as whom",
	}
	cmd.AddCommand(contextList(a), contextUse(a), contextShow(a), contextRename(a), contextDelete(a))
	return group(cmd)
}

// currentName is the context that a command without --context takes.
func (a *app) currentName(c config.Config) string {
	for _, name := range []string{a.context, os.Getenv("HUSK_CONTEXT")} {
		if name != "" {
			return name
		}
	}
	return c.CurrentContext
}

func contextList(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List contexts", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "table")
	cmd.RunE = func(*cobra.Command, []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		_, c, err := loadContexts()
		if err != nil {
			return err
		}
		var rows []contextRow
		for _, name := range c.Names() {
			rows = append(rows, rowOf(name, c.Contexts[name], name == a.currentName(c)))
		}
		if os.Getenv("HUSK_API") != "" {
			a.hint("HUSK_API is set, and wins over the contexts")
		}
		if len(rows) == 0 && p.tabular() {
			a.hint("no contexts yet; husk login URL makes one")
			return nil
		}
		return contextView.show(p, rows)
	}
	return cmd
}

func loadContexts() (config.Store, config.Config, error) {
	store, err := config.Default()
	if err != nil {
		return store, config.Config{}, usageError{err}
	}
	c, err := store.Load()
	if err != nil {
		return store, c, usageError{err}
	}
	return store, c, nil
}

func contextUse(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			store, _, err := loadContexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				if _, ok := c.Contexts[args[0]]; !ok {
					return noSuch("context", args[0])
				}
				c.CurrentContext = args[0]
				return nil
			})
			if err == nil {
				fmt.Fprintf(a.out, "context/%s is the current one\n", args[0])
			}
			return err
		},
	}
}

func contextShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAME]", Aliases: []string{"current"}, Short: "Show a context, the current one if none is named, without its secrets",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeContexts,
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		store, c, err := loadContexts()
		if err != nil {
			return err
		}
		name := a.currentName(c)
		if len(args) == 1 {
			name = args[0]
		}
		if name == "" {
			return loginError{"there is no current context; husk login URL makes one"}
		}
		context, ok := c.Contexts[name]
		if !ok {
			return noSuch("context", name)
		}
		row := rowOf(name, context, name == c.CurrentContext)
		if p.format != "text" {
			return contextView.one(p, row)
		}
		var f facts
		f.add("Name:", row.Name)
		f.add("API:", row.API)
		f.add("Tenant:", row.Tenant)
		f.add("Login:", row.Login)
		f.add("Client id:", row.Who)
		f.add("Issuer:", row.Issuer)
		f.add("Kept in:", store.File())
		return f.print(p.out)
	}
	return cmd
}

func contextRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rename NAME NEW-NAME", Short: "Rename a context", Args: cobra.ExactArgs(2), ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := config.CheckName(args[1]); err != nil {
				return usageError{err}
			}
			store, _, err := loadContexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				context, ok := c.Contexts[args[0]]
				if !ok {
					return noSuch("context", args[0])
				}
				if _, taken := c.Contexts[args[1]]; taken {
					return usagef("there is a context %q already", args[1])
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
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a context, with its credentials", Args: cobra.ExactArgs(1), ValidArgsFunction: completeContexts,
		RunE: func(_ *cobra.Command, args []string) error {
			store, _, err := loadContexts()
			if err != nil {
				return err
			}
			err = store.Update(func(c *config.Config) error {
				if _, ok := c.Contexts[args[0]]; !ok {
					return noSuch("context", args[0])
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
