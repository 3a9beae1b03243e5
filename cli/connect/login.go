// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"fmt"
	"strings"
	"time"

	"husk/cli/config"
	"husk/cli/print"
	"husk/client"
	"husk/client/oidc"
	"husk/openapi"
)

// NewName returns the name of the context for a login: the requested name, the name of the current context when logging in again, or a name
// made from the tenant's.
func NewName(c config.Config, asked string, again bool, next config.Context, who openapi.Identity) string {
	if asked != "" {
		return asked
	}
	if current := Current(asked, c); again && current != "" {
		return current
	}
	base := next.Tenant
	if base == "" {
		base = string(who.Kind)
	}
	name := base
	for n := 2; ; n++ {
		there, taken := c.Contexts[name]
		if !taken || there.API == next.API && there.Tenant == next.Tenant {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
}

// IsLoopback reports whether a host is this machine.
func IsLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}

// fixed is a token source with one token.
type fixed client.Token

// Token implements client.TokenSource.
func (f fixed) Token(context.Context, string) (client.Token, error) { return client.Token(f), nil }

// Identity asks whom a token belongs to.
func Identity(ctx context.Context, api string, token client.Token) (openapi.Identity, error) {
	c, err := client.New(api, client.WithProgram("husk"), client.WithTokenSource(fixed(token)))
	if err != nil {
		return openapi.Identity{}, err
	}
	return c.WhoAmI(ctx)
}

// Describe describes the caller in one line.
func Describe(who openapi.Identity) string {
	if who.Role == nil {
		return print.Clean(who.Name) + " is logged in as an " + string(who.Kind)
	}
	return print.Clean(who.Name) + " is logged in as " + string(*who.Role) + " of tenant " + print.Clean(openapi.Value(who.TenantName))
}

// revokeTime bounds how long an issuer may take to revoke a token.
const revokeTime = 10 * time.Second

// Revoke revokes the refresh token of a context at its issuer.
func Revoke(ctx context.Context, c config.Context) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	api, err := client.New(c.API, client.WithProgram("husk"))
	if err != nil {
		return err
	}
	issuer, err := oidc.Discover(ctx, api.HTTPClient(), c.OIDC.Issuer, c.OIDC.ClientID)
	if err != nil {
		return err
	}
	return issuer.Revoke(ctx, c.OIDC.RefreshToken)
}
