package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"husk/cmd/husk/config"
	"husk/cmd/husk/oidc"
)

func logoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the credentials of a context, the current one if none is named",
		Long: `Forget the credentials of a context, the current one if --context names none.
Its URL and tenant stay, so that husk login logs in again. A refresh token is
given back to its issuer; an API key is not deleted, husk api-key delete does
that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, c, err := loadContexts()
			if err != nil {
				return err
			}
			name := a.currentName(c)
			if name == "" {
				return loginError{"there is no context to log out of"}
			}
			var was config.Context
			err = store.Update(func(c *config.Config) error {
				context, ok := c.Contexts[name]
				if !ok {
					return noSuch("context", name)
				}
				was = context
				c.Contexts[name] = context.LoggedOut()
				return nil
			})
			if err != nil {
				return err
			}
			if err := store.ForgetToken(name); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "context/%s logged out\n", name)
			if was.OIDC != nil && was.OIDC.RefreshToken != "" {
				a.revoke(cmd.Context(), *was.OIDC)
			}
			return nil
		},
	}
}

// revokeTime is how long the issuer may take to take a token back.
const revokeTime = 10 * time.Second

// revoke gives the refresh token back. It is forgotten here whatever the issuer says.
func (a *app) revoke(ctx context.Context, login config.OIDC) {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	issuer, err := oidc.Discover(ctx, web(), login.Issuer, login.ClientID)
	if err == nil {
		err = issuer.Revoke(ctx, login.RefreshToken)
	}
	if err != nil {
		a.hint("the refresh token is forgotten here, but not taken back: %s", clean(err.Error()))
	}
}
