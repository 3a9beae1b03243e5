// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/complete"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/cli/print"
	"husk/openapi"
)

func serviceAccountsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.ServiceAccounts)
	create := &cobra.Command{
		Use:     "create NAME --role ROLE",
		Short:   "Create a service account",
		Long:    "Create a service account. The account has no API key yet. To create one, run\n\"husk api-key create\".",
		Example: "  husk service-account create ci --role developer",
		Args:    cobra.ExactArgs(1),
	}
	role := a.roleFlag(create)
	output := a.outputFlags(create, "text")
	create.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		r, err := role()
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		created, err := c.ServiceAccounts.Create(cmd.Context(), openapi.ServiceAccountCreate{Name: args[0], Role: r})
		if err != nil {
			return err
		}
		a.hint("the account has no API key yet; to create one, run \"husk api-key create NAME --service-account %s\"", created.Name)
		return kind.ServiceAccounts.Done(p, created, "created")
	}
	set := &cobra.Command{
		Use:               "set-role NAME|ID ROLE",
		Short:             "Change the role of a service account; its tokens with the old role stop working",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.offers().Names("service-account"),
	}
	setOutput := a.outputFlags(set, "text")
	set.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := setOutput()
		if err != nil {
			return err
		}
		r, err := parse.Role("ROLE", args[1])
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		account, err := c.ServiceAccounts.Find(cmd.Context(), kind.Bare("service-account", args[0]))
		if err != nil {
			return err
		}
		if account, err = c.ServiceAccounts.SetRole(cmd.Context(), account.ID, r); err != nil {
			return err
		}
		return kind.ServiceAccounts.Done(p, account, "has the role "+string(account.Role))
	}
	cmd.AddCommand(create, set, deleteKind(a, "service-account"))
	return cmd
}

// roleFlag adds --role and returns a function that reads and checks it.
func (a *app) roleFlag(cmd *cobra.Command) func() (openapi.Role, error) {
	role := cmd.Flags().String("role", "", "role: viewer reads, developer also creates and deletes, owner also manages access")
	complete.Words(cmd, "role", parse.Roles...)
	return func() (openapi.Role, error) { return parse.Role("--role", *role) }
}

func apiKeysCommand(a *app) *cobra.Command {
	cmd := listKeysCommand(a)
	cmd.AddCommand(createKeyCommand(a), deleteKind(a, "api-key"))
	return cmd
}

func listKeysCommand(a *app) *cobra.Command {
	account := ""
	cmd := listCommand(a, kind.APIKeys(&account))
	cmd.Flags().StringVar(&account, "service-account", "", "list only the keys of this service account")
	complete.Flag(cmd, "service-account", a.offers().NamesOf("service-account"))
	return cmd
}

func createKeyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "create NAME --service-account ACCOUNT",
		Short: "Create an API key and show its secret once",
		Example: `  husk api-key create laptop --service-account ci --expires-in 90d
  husk api-key create ci --service-account ci -o json
  husk api-key create prometheus --service-account monitoring --limited-to metrics`,
		Args: cobra.ExactArgs(1),
	}
	account := cmd.Flags().String("service-account", "", "service account that the key belongs to")
	expires := cmd.Flags().String("expires-in", "", "how long the key is valid, such as 12h or 90d (default: until it is deleted)")
	limit := cmd.Flags().String("limited-to", "", "restrict the key to one purpose, whatever the role: metrics allows only scraping (default: what the role allows)")
	complete.Flag(cmd, "service-account", a.offers().NamesOf("service-account"))
	complete.Words(cmd, "limited-to", string(openapi.Metrics))
	output := a.outputFlags(cmd, "text", "json", "yaml") // not name: the secret would be lost
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *account == "" {
			return exit.Usagef("no service account given; add --service-account. To list the accounts, run \"husk service-accounts\"")
		}
		key := openapi.APIKeyCreate{Name: args[0]}
		if key.ExpiresInSeconds, err = parse.Lifetime("--expires-in", *expires); err != nil {
			return err
		}
		switch *limit {
		case "":
		case string(openapi.Metrics):
			key.LimitedTo = new(openapi.Metrics)
		default:
			return exit.Usagef("--limited-to: %q is not a possible value; use metrics", *limit)
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		of, err := c.ServiceAccounts.Find(cmd.Context(), kind.Bare("service-account", *account))
		if err != nil {
			return err
		}
		created, err := c.ServiceAccounts.CreateKey(cmd.Context(), of.ID, key)
		if err != nil {
			return err
		}
		if printed, err := p.Value(created); printed {
			return err
		}
		_, err = fmt.Fprintf(p.Out, "HUSK_CLIENT_ID=%s\nHUSK_CLIENT_SECRET=%s\n", created.ClientID, print.Clean(created.ClientSecret))
		a.hint("the secret is not shown again; to log in with it, run \"husk login --client-id %s --client-secret-stdin\"", created.ClientID)
		return err
	}
	return cmd
}
