// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

func issuersCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Issuers)
	cmd.AddCommand(createIssuerCommand(a), mapCommand(a), deleteKind(a, "issuer"))
	return cmd
}

const mappingHelp = "CLAIM=VALUE:ROLE, such as groups=devs:developer: grant the role to users whose ID token has this claim; may be repeated"

func createIssuerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME --issuer URL --client-id ID",
		Short:   "Trust an OIDC issuer for this tenant",
		Example: "  husk issuer create ours --issuer https://login.example.com --client-id husk --map groups=devs:developer",
		Args:    cobra.ExactArgs(1),
	}
	issuer := cmd.Flags().String("issuer", "", "URL of the OIDC issuer")
	clientID := cmd.Flags().String("client-id", "", "audience that the issuer's ID tokens must have")
	mappings := cmd.Flags().StringArray("map", nil, mappingHelp)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *issuer == "" || *clientID == "" {
			return exit.Usagef("no issuer or client ID given; add --issuer and --client-id")
		}
		m, err := parse.Mappings(*mappings)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		created, err := c.Issuers.Create(cmd.Context(), openapi.OIDCIssuerCreate{Name: args[0], Issuer: *issuer, ClientID: *clientID, RoleMappings: &m})
		if err != nil {
			return err
		}
		return kind.Issuers.Done(p, created, "created")
	}
	return cmd
}

func mapCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set-mappings NAME|ID [--map CLAIM=VALUE:ROLE…]",
		Short:             "Replace all role mappings of an issuer",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.offers().Names("issuer"),
	}
	mappings := cmd.Flags().StringArray("map", nil, mappingHelp)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		m, err := parse.Mappings(*mappings)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		issuer, err := c.Issuers.Find(cmd.Context(), kind.Bare("issuer", args[0]))
		if err != nil {
			return err
		}
		if issuer, err = c.Issuers.SetMappings(cmd.Context(), issuer.ID, m); err != nil {
			return err
		}
		return kind.Issuers.Done(p, issuer, fmt.Sprintf("has %d role mappings", len(issuer.RoleMappings)))
	}
	return cmd
}
