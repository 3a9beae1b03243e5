package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

func whoamiCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "whoami", Short: "Show who you are to the API, and what you may do", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		t, err := a.target()
		if err != nil {
			return err
		}
		c, err := t.client(web())
		if err != nil {
			return err
		}
		who, err := answer[openapi.Identity](c.WhoAmI(cmd.Context()))
		if err != nil {
			return err
		}
		switch p.format {
		case "json":
			return writeJSON(p.out, who)
		case "yaml":
			return writeYAML(p.out, who)
		case "name":
			p.noHeaders = true
			return p.table().rows([]string{clean(who.Name)})
		}
		var f facts
		f.add("Name:", who.Name)
		f.add("Role:", string(value(who.Role)))
		if who.LimitedTo != nil {
			f.add("Limited to:", string(*who.LimitedTo))
		}
		f.add("Tenant:", value(who.TenantName))
		f.add("Kind:", string(who.Kind))
		f.add("ID:", who.ID.String())
		f.add("API:", t.context.API)
		f.add("Context:", t.name)
		f.add("Token ends:", who.ExpiresAt.Format(time.RFC3339))
		return f.print(p.out)
	}
	return cmd
}

// whoIs asks who a token speaks for.
func whoIs(ctx context.Context, base *http.Client, api, token string) (openapi.Identity, error) {
	c, err := openapi.NewClient(api, openapi.WithHTTPClient(base), openapi.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return openapi.Identity{}, err
	}
	return answer[openapi.Identity](c.WhoAmI(ctx))
}

// describeIdentity is one line about a caller.
func describeIdentity(who openapi.Identity) string {
	if who.Role == nil {
		return clean(who.Name) + " is logged in as an " + string(who.Kind)
	}
	return clean(who.Name) + " is logged in as " + string(*who.Role) + " of tenant " + clean(value(who.TenantName))
}
