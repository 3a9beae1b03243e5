package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"husk/openapi"
)

// issuers are the tenant's own OIDC issuers.
var issuers = resource[openapi.OIDCIssuer]{
	view: view[openapi.OIDCIssuer]{
		kind: "issuer",
		name: func(i openapi.OIDCIssuer) string { return i.Name },
		columns: []column[openapi.OIDCIssuer]{
			{"NAME", false, func(i openapi.OIDCIssuer) string { return i.Name }},
			{"ISSUER", false, func(i openapi.OIDCIssuer) string { return i.Issuer }},
			{"CLIENT-ID", false, func(i openapi.OIDCIssuer) string { return i.ClientID }},
			{"MAPPINGS", false, func(i openapi.OIDCIssuer) string { return fmt.Sprint(len(i.RoleMappings)) }},
			{"AGE", false, func(i openapi.OIDCIssuer) string { return age(i.CreatedAt) }},
			{"ROLES", true, func(i openapi.OIDCIssuer) string {
				var parts []string
				for _, m := range i.RoleMappings {
					parts = append(parts, m.Claim+"="+m.Value+":"+string(m.Role))
				}
				return strings.Join(parts, ",")
			}},
			{"ID", true, func(i openapi.OIDCIssuer) string { return i.ID.String() }},
		},
	},
	plural: "issuers", aliases: []string{"issuer"}, short: "List the tenant's own OIDC issuers",
	id:     func(i openapi.OIDCIssuer) string { return i.ID.String() },
	find:   findIssuer,
	ifNone: "husk issuer create NAME --issuer URL --client-id ID trusts one; people also log in at the installation's own",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.OIDCIssuer, error) {
		return listIssuers(ctx, c)
	},
}

func listIssuers(ctx context.Context, c *openapi.Client) ([]openapi.OIDCIssuer, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListOIDCIssuers(ctx, &openapi.ListOIDCIssuersParams{Limit: &pageSize, Cursor: cursor})
	}, func(l openapi.OIDCIssuerList) ([]openapi.OIDCIssuer, *string) { return l.Items, l.NextCursor })
}

// findIssuer finds an issuer by id, name or URL.
func findIssuer(ctx context.Context, c *openapi.Client, name string) (openapi.OIDCIssuer, error) {
	all, err := listIssuers(ctx, c)
	return findListed(name, "issuer", all, err, func(i openapi.OIDCIssuer) []string { return []string{i.ID.String(), i.Name, i.Issuer} })
}

func issuersCommand(a *app) *cobra.Command {
	cmd := listCommand(a, issuers)
	cmd.AddCommand(createIssuerCommand(a), mapCommand(a), deleteKind(a, "issuer"))
	return cmd
}

const mappingHelp = "CLAIM=VALUE:ROLE gives the role to whose ID token has the claim, such as groups=devs:developer; may be repeated"

func createIssuerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "create NAME --issuer URL --client-id ID",
		Short:   "Trust an OIDC issuer for this tenant",
		Example: "  husk issuer create ours --issuer https://login.example.com --client-id husk --map groups=devs:developer",
		Args:    cobra.ExactArgs(1),
	}
	issuer := cmd.Flags().String("issuer", "", "URL of the issuer")
	clientID := cmd.Flags().String("client-id", "", "the audience that its ID tokens must have")
	mappings := cmd.Flags().StringArray("map", nil, mappingHelp)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		if *issuer == "" || *clientID == "" {
			return usagef("--issuer and --client-id are needed")
		}
		order := openapi.OIDCIssuerCreate{Name: args[0], Issuer: *issuer, ClientID: *clientID}
		m, err := parseMappings(*mappings)
		if err != nil {
			return err
		}
		order.RoleMappings = &m
		c, err := a.connect()
		if err != nil {
			return err
		}
		made, err := answer[openapi.OIDCIssuer](c.CreateOIDCIssuer(cmd.Context(), &openapi.CreateOIDCIssuerParams{IdempotencyKey: newKey()}, order))
		if err != nil {
			return err
		}
		return issuers.done(p, made, "created")
	}
	return cmd
}

func mapCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "set-mappings NAME|ID [--map CLAIM=VALUE:ROLE…]",
		Short:             "Replace an issuer's role mappings by those that are given",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames("issuer"),
	}
	mappings := cmd.Flags().StringArray("map", nil, mappingHelp)
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		m, err := parseMappings(*mappings)
		if err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		issuer, err := findIssuer(cmd.Context(), c, bare("issuer", args[0]))
		if err != nil {
			return err
		}
		_, etag, err := answered[openapi.OIDCIssuer](c.GetOIDCIssuer(cmd.Context(), issuer.ID))
		if err != nil {
			return err
		}
		issuer, err = answer[openapi.OIDCIssuer](c.UpdateOIDCIssuer(cmd.Context(), issuer.ID,
			&openapi.UpdateOIDCIssuerParams{IfMatch: given(etag)}, openapi.OIDCIssuerUpdate{RoleMappings: m}))
		if err != nil {
			return err
		}
		return issuers.done(p, issuer, fmt.Sprintf("has %d role mappings", len(issuer.RoleMappings)))
	}
	return cmd
}

// parseMappings reads CLAIM=VALUE:ROLE. A value may have colons, a role has none.
func parseMappings(items []string) ([]openapi.RoleMapping, error) {
	mappings := []openapi.RoleMapping{}
	for _, item := range items {
		claim, rest, _ := strings.Cut(item, "=")
		at := strings.LastIndexByte(rest, ':')
		if claim == "" || at <= 0 {
			return nil, usagef("--map: %q is not CLAIM=VALUE:ROLE, such as groups=devs:developer", item)
		}
		role, err := parseRole("--map", rest[at+1:])
		if err != nil {
			return nil, err
		}
		mappings = append(mappings, openapi.RoleMapping{Claim: claim, Value: rest[:at], Role: role})
	}
	return mappings, nil
}
