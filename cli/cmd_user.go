// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

func usersCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Users)
	cmd.AddCommand(createUserCommand(a), setUserRoleCommand(a),
		disableUserCommand(a, "disable", true, "Disable a user's access, even if a role mapping grants it", "disabled"),
		disableUserCommand(a, "enable", false, "Enable a user's access again", "enabled"),
		deleteKind(a, "user"))
	return cmd
}

func createUserCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create EMAIL|SUBJECT --issuer URL --role ROLE",
		Aliases: []string{"admit"},
		Short:   "Grant access to a user of an OIDC issuer",
		Long: `Grant access to a user of an OIDC issuer. The user is identified by an email
address that the issuer has verified, or by the issuer's subject for the user. An
argument with an @ is an email address, unless --subject is given.`,
		Example: "  husk user create dev@example.com --issuer https://login.example.com --role developer",
		Args:    cobra.ExactArgs(1),
	}
	issuer := cmd.Flags().String("issuer", "", "URL of the user's OIDC issuer")
	subject := cmd.Flags().Bool("subject", false, "treat the argument as a subject, even if it has an @")
	role := a.roleFlag(cmd)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		user := openapi.UserCreate{Issuer: *issuer}
		if user.Issuer == "" {
			return exit.Usagef("no issuer given; add --issuer with the URL of the user's OIDC issuer")
		}
		if user.Role, err = role(); err != nil {
			return err
		}
		if strings.Contains(args[0], "@") && !*subject {
			user.Email = &args[0]
		} else {
			user.Subject = &args[0]
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		created, err := c.Users.Create(cmd.Context(), user)
		if err != nil {
			return err
		}
		return kind.Users.Done(p, created, "created")
	}
	return cmd
}

func setUserRoleCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set-role USER|ID ROLE",
		Short:             "Change the role of a user; tokens with the old role stop working",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.offers().Names("user"),
	}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		role, err := parse.Role("ROLE", args[1])
		if err != nil {
			return err
		}
		u, err := a.changeUser(cmd.Context(), args[0], openapi.UserUpdate{Role: &role})
		if err != nil {
			return err
		}
		return kind.Users.Done(p, u, "has the role "+string(u.Role))
	}
	return cmd
}

func disableUserCommand(a *app, use string, disabled bool, short, done string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " USER|ID", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: a.offers().Names("user")}
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
		return kind.Users.Done(p, u, done)
	}
	return cmd
}

func (a *app) changeUser(ctx context.Context, name string, change openapi.UserUpdate) (openapi.User, error) {
	c, err := a.connect()
	if err != nil {
		return openapi.User{}, err
	}
	u, err := c.Users.Find(ctx, kind.Bare("user", name))
	if err != nil {
		return u, err
	}
	return c.Users.Update(ctx, u.ID, change)
}
