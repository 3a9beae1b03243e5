// SPDX-License-Identifier: Apache-2.0

// Package issuers has the commands that create and change OIDC issuers, of a tenant or of the installation.
package issuers

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"husk/cli/complete"
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
	// Names completes the names of a kind.
	Names func(kind string) complete.Offer
}

// Of says which issuers the commands are about.
type Of struct {
	kind.Kind[openapi.OIDCIssuer]

	trust, example, mapping string // what creating one does, with an example, and the help about mappings
	of                      func(c *client.Client) client.Issuers
}

// Tenant has the issuers of the caller's tenant.
var Tenant = Of{
	kind.Issuers, "Trust an OIDC issuer for this tenant", "groups=devs:developer",
	"CLAIM=VALUE:ROLE, such as groups=devs:developer: grant the role to users whose ID token has this claim; may be repeated",
	func(c *client.Client) client.Issuers { return c.Issuers },
}

// Platform has the issuers of the installation.
var Platform = Of{
	kind.PlatformIssuers, "Trust an OIDC issuer for every tenant in its role mappings", "groups=acme-admins:owner@acme",
	"CLAIM=VALUE:ROLE@TENANT, such as groups=acme-admins:owner@acme: grant the role in the tenant to users whose ID token has this claim; may be repeated",
	func(c *client.Client) client.Issuers { return c.PlatformIssuers },
}

// Commands makes the commands that create and change issuers.
func (i Of) Commands(a Parts) []*cobra.Command {
	return []*cobra.Command{i.create(a), i.setMappings(a)}
}

// mappings reads role mappings. Those of an issuer of the installation name their tenants.
func (i Of) mappings(ctx context.Context, c *client.Client, texts []string) ([]openapi.RoleMapping, error) {
	if i.View.Kind == kind.Issuers.Kind {
		return parse.Mappings(texts)
	}
	all := []openapi.RoleMapping{}
	for _, text := range texts {
		at := strings.LastIndexByte(text, '@')
		if at <= 0 || at == len(text)-1 {
			return nil, exit.Usagef("--map: %q is not CLAIM=VALUE:ROLE@TENANT, such as %s", text, i.example)
		}
		m, err := parse.Mappings([]string{text[:at]})
		if err != nil {
			return nil, err
		}
		t, err := c.Tenants.Find(ctx, text[at+1:])
		if err != nil {
			return nil, err
		}
		m[0].TenantID = &t.ID
		all = append(all, m...)
	}
	return all, nil
}

func (i Of) create(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME --issuer URL --client-id ID",
		Short:   i.trust,
		Example: "  husk " + i.View.Kind + " create ours --issuer https://login.example.com --client-id husk --map " + i.example,
		Args:    cobra.ExactArgs(1),
	}
	issuer := cmd.Flags().String("issuer", "", "URL of the OIDC issuer")
	clientID := cmd.Flags().String("client-id", "", "audience that the issuer's ID tokens must have")
	mappings := cmd.Flags().StringArray("map", nil, i.mapping)
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *issuer == "" || *clientID == "" {
			return exit.Usagef("no issuer or client ID given; add --issuer and --client-id")
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		m, err := i.mappings(cmd.Context(), c, *mappings)
		if err != nil {
			return err
		}
		created, err := i.of(c).Create(cmd.Context(), openapi.OIDCIssuerCreate{Name: args[0], Issuer: *issuer, ClientID: *clientID, RoleMappings: &m})
		if err != nil {
			return err
		}
		return i.Done(p, created, "created")
	}
	return cmd
}

func (i Of) setMappings(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set-mappings NAME|ID [--map CLAIM=VALUE:ROLE…]",
		Short:             "Replace all role mappings of an issuer",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.Names(i.View.Kind),
	}
	mappings := cmd.Flags().StringArray("map", nil, i.mapping)
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		m, err := i.mappings(cmd.Context(), c, *mappings)
		if err != nil {
			return err
		}
		issuer, err := i.Find(cmd.Context(), c, kind.Bare(i.View.Kind, args[0]))
		if err != nil {
			return err
		}
		if issuer, err = i.of(c).SetMappings(cmd.Context(), issuer.ID, m); err != nil {
			return err
		}
		return i.Done(p, issuer, fmt.Sprintf("has %d role mappings", len(issuer.RoleMappings)))
	}
	return cmd
}
