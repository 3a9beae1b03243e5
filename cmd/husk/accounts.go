package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

// serviceAccounts are who programs are.
var serviceAccounts = resource[openapi.ServiceAccount]{
	view: view[openapi.ServiceAccount]{
		kind: "service-account",
		name: func(s openapi.ServiceAccount) string { return s.Name },
		columns: []column[openapi.ServiceAccount]{
			{"NAME", false, func(s openapi.ServiceAccount) string { return s.Name }},
			{"ROLE", false, func(s openapi.ServiceAccount) string { return string(s.Role) }},
			{"AGE", false, func(s openapi.ServiceAccount) string { return age(s.CreatedAt) }},
			{"ID", true, func(s openapi.ServiceAccount) string { return s.ID.String() }},
		},
	},
	plural: "service-accounts", aliases: []string{"service-account", "sa"}, short: "List service accounts: who programs are",
	id:     func(s openapi.ServiceAccount) string { return s.ID.String() },
	find:   findAccount,
	ifNone: "husk service-account create NAME --role developer makes one",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.ServiceAccount, error) {
		return listAccounts(ctx, c)
	},
}

func listAccounts(ctx context.Context, c *openapi.Client) ([]openapi.ServiceAccount, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListServiceAccounts(ctx, &openapi.ListServiceAccountsParams{Limit: &pageSize, Cursor: cursor})
	}, func(l openapi.ServiceAccountList) ([]openapi.ServiceAccount, *string) { return l.Items, l.NextCursor })
}

func findAccount(ctx context.Context, c *openapi.Client, name string) (openapi.ServiceAccount, error) {
	return find(name, "service account", isName,
		func(id uuid.UUID) (openapi.ServiceAccount, error) {
			return answer[openapi.ServiceAccount](c.GetServiceAccount(ctx, id))
		},
		func() ([]openapi.ServiceAccount, error) {
			all, err := listAccounts(ctx, c)
			return slices.DeleteFunc(all, func(s openapi.ServiceAccount) bool { return s.Name != name }), err
		})
}

func serviceAccountsCommand(a *app) *cobra.Command {
	cmd := listCommand(a, serviceAccounts)
	create := &cobra.Command{
		Use:     "create NAME --role ROLE",
		Short:   "Create a service account",
		Long:    "Create a service account. It has no API key yet; husk api-key create makes one.",
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
		made, err := answer[openapi.ServiceAccount](c.CreateServiceAccount(cmd.Context(),
			&openapi.CreateServiceAccountParams{IdempotencyKey: newKey()}, openapi.ServiceAccountCreate{Name: args[0], Role: r}))
		if err != nil {
			return err
		}
		a.hint("it has no API key yet; husk api-key create NAME --service-account %s makes one", made.Name)
		return serviceAccounts.done(p, made, "created")
	}
	set := &cobra.Command{
		Use:               "set-role NAME|ID ROLE",
		Short:             "Change a service account's role; its tokens with the old one are refused from then on",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNames("service-account"),
	}
	setOutput := a.outputFlags(set, "text")
	set.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := setOutput()
		if err != nil {
			return err
		}
		r, err := parseRole("ROLE", args[1])
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		account, err := findAccount(cmd.Context(), c, bare("service-account", args[0]))
		if err != nil {
			return err
		}
		_, etag, err := answered[openapi.ServiceAccount](c.GetServiceAccount(cmd.Context(), account.ID))
		if err != nil {
			return err
		}
		account, err = answer[openapi.ServiceAccount](c.UpdateServiceAccount(cmd.Context(), account.ID,
			&openapi.UpdateServiceAccountParams{IfMatch: given(etag)}, openapi.ServiceAccountUpdate{Role: r}))
		if err != nil {
			return err
		}
		return serviceAccounts.done(p, account, "has the role "+string(account.Role))
	}
	cmd.AddCommand(create, set, deleteKind(a, "service-account"))
	return cmd
}

var roles = []openapi.Role{openapi.Viewer, openapi.Developer, openapi.Owner}

func parseRole(what, text string) (openapi.Role, error) {
	if r := openapi.Role(text); slices.Contains(roles, r) {
		return r, nil
	}
	if text == "" {
		return "", usagef("%s is needed: viewer reads, developer also orders and deletes, owner also decides who may", what)
	}
	return "", usagef("%s: %q is not viewer, developer or owner", what, text)
}

// roleFlag adds --role and returns a function that reads and checks it.
func (a *app) roleFlag(cmd *cobra.Command) func() (openapi.Role, error) {
	role := cmd.Flags().String("role", "", "viewer reads, developer also orders and deletes, owner also decides who may")
	a.completeWords(cmd, "role", "viewer", "developer", "owner")
	return func() (openapi.Role, error) { return parseRole("--role", *role) }
}
