package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"husk/openapi"
)

// users are people, known by OIDC issuers.
var users = resource[openapi.User]{
	view: view[openapi.User]{
		kind: "user",
		name: userName,
		columns: []column[openapi.User]{
			{"USER", false, userName},
			{"ROLE", false, func(u openapi.User) string { return string(u.Role) }},
			{"FROM", false, func(u openapi.User) string {
				switch {
				case u.Disabled:
					return "shut out"
				case u.Mapped:
					return "mapping"
				default:
					return "admitted"
				}
			}},
			{"LAST-LOGIN", false, func(u openapi.User) string { return ageOf(u.LastLoginAt) }},
			{"AGE", false, func(u openapi.User) string { return age(u.CreatedAt) }},
			{"ISSUER", true, func(u openapi.User) string { return u.Issuer }},
			{"SUBJECT", true, func(u openapi.User) string { return value(u.Subject) }},
			{"NAME", true, func(u openapi.User) string { return value(u.Name) }},
			{"ID", true, func(u openapi.User) string { return u.ID.String() }},
		},
	},
	plural: "users", aliases: []string{"user"}, short: "List users: people who log in at an OIDC issuer",
	id:     func(u openapi.User) string { return u.ID.String() },
	find:   findUser,
	ifNone: "husk user create dev@example.com --issuer URL --role developer admits one",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.User, error) {
		return listUsers(ctx, c)
	},
}

func listUsers(ctx context.Context, c *openapi.Client) ([]openapi.User, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListUsers(ctx, &openapi.ListUsersParams{Limit: &pageSize, Cursor: cursor})
	}, func(l openapi.UserList) ([]openapi.User, *string) { return l.Items, l.NextCursor })
}

// userName is what people call a user: the email address, or the issuer's name for it.
func userName(u openapi.User) string {
	for _, name := range []*string{u.Email, u.Subject} {
		if value(name) != "" {
			return *name
		}
	}
	return u.ID.String()
}

// findUser finds a user by id, email address or subject.
func findUser(ctx context.Context, c *openapi.Client, name string) (openapi.User, error) {
	if id, ok := parseID(name); ok {
		u, err := answer[openapi.User](c.GetUser(ctx, id))
		if !isNotFound(err) {
			return u, err
		}
	}
	all, err := listUsers(ctx, c)
	return findListed(name, "user", all, err, func(u openapi.User) []string { return []string{value(u.Email), value(u.Subject), u.ID.String()} })
}

func usersCommand(a *app) *cobra.Command {
	cmd := listCommand(a, users)
	cmd.AddCommand(createUserCommand(a), setUserRoleCommand(a),
		shutOutCommand(a, "disable", true, "Shut a user out, whatever a role mapping says", "shut out"),
		shutOutCommand(a, "enable", false, "Let a user in again who was shut out", "let in again"),
		deleteKind(a, "user"))
	return cmd
}

func createUserCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create EMAIL|SUBJECT --issuer URL --role ROLE",
		Aliases: []string{"admit"},
		Short:   "Admit a user of an OIDC issuer",
		Long: `Admit a user of an OIDC issuer. The user is named by an email address that the
issuer has verified, or by the issuer's own name for the user, the subject; what
has an @ in it is taken for an email address unless --subject is given.`,
		Example: "  husk user create dev@example.com --issuer https://login.example.com --role developer",
		Args:    cobra.ExactArgs(1),
	}
	issuer := cmd.Flags().String("issuer", "", "URL of the issuer")
	subject := cmd.Flags().Bool("subject", false, "the argument is a subject, whatever it looks like")
	role := a.roleFlag(cmd)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		order := openapi.UserCreate{Issuer: *issuer}
		if order.Issuer == "" {
			return usagef("--issuer is needed, the URL of the OIDC issuer that knows the user")
		}
		if order.Role, err = role(); err != nil {
			return err
		}
		if strings.Contains(args[0], "@") && !*subject {
			order.Email = &args[0]
		} else {
			order.Subject = &args[0]
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		made, err := answer[openapi.User](c.CreateUser(cmd.Context(), &openapi.CreateUserParams{IdempotencyKey: newKey()}, order))
		if err != nil {
			return err
		}
		return users.done(p, made, "created")
	}
	return cmd
}

func setUserRoleCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set-role USER|ID ROLE",
		Short:             "Change a user's role; tokens with the old one are refused from then on",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNames("user"),
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		role, err := parseRole("ROLE", args[1])
		if err != nil {
			return err
		}
		u, err := a.changeUser(cmd.Context(), args[0], openapi.UserUpdate{Role: &role})
		if err != nil {
			return err
		}
		return users.done(p, u, "has the role "+string(u.Role))
	}
	return cmd
}

func shutOutCommand(a *app, use string, disabled bool, short, done string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " USER|ID", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeNames("user")}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		u, err := a.changeUser(cmd.Context(), args[0], openapi.UserUpdate{Disabled: &disabled})
		if err != nil {
			return err
		}
		return users.done(p, u, done)
	}
	return cmd
}

// changeUser changes a user as it was read: what somebody else changes meanwhile is not overwritten.
func (a *app) changeUser(ctx context.Context, name string, change openapi.UserUpdate) (openapi.User, error) {
	c, err := a.connect()
	if err != nil {
		return openapi.User{}, err
	}
	u, err := findUser(ctx, c, bare("user", name))
	if err != nil {
		return u, err
	}
	var id uuid.UUID = u.ID
	_, etag, err := answered[openapi.User](c.GetUser(ctx, id))
	if err != nil {
		return u, err
	}
	return answer[openapi.User](c.UpdateUser(ctx, id, &openapi.UpdateUserParams{IfMatch: given(etag)}, change))
}
