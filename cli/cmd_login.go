// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/config"
	"husk/cli/connect"
	"husk/cli/exit"
	"husk/cli/print"
	"husk/cli/terminal"
	"husk/client"
	"husk/client/oidc"
	"husk/openapi"
)

type loginFlags struct {
	clientID, issuer, oidcClientID, tenant string
	secretStdin                            bool
}

func loginCommand(a *app) *cobra.Command {
	var f loginFlags
	cmd := &cobra.Command{
		Use:   "login [URL]",
		Short: "Log in to a Husk installation, with an API key or in a browser",
		Long: `Log in to a Husk installation and make it the current context. URL is the URL of
its API. Without URL, husk logs in to the current context again, or to the one that
--context names.

With --client-id, husk logs in with an API key. It reads the secret from standard
input or asks for it on the terminal; the secret is never an argument. With
--issuer, you log in with a browser: husk prints a URL and a code, and waits. An
issuer of your tenant also needs --oidc-client-id; an issuer of the installation
does not. Without URL and without these flags, husk logs in as the context says.
With URL and without these flags, husk asks how to log in. Without a terminal, it
uses the issuer of the installation if there is exactly one.

husk keeps the context in ~/.config/husk/config.yaml, which only you can read
(XDG_CONFIG_HOME applies). A new context is named after the tenant, unless
--context gives another name.`,
		Example: `  husk login https://husk.example.com
  husk login https://husk.example.com --tenant acme
  husk login https://husk.example.com --context ci --client-id 4f5c0f0e-6d5e-4c7b-8d3c-0c8a4f1f2f11 --client-secret-stdin < secret`,
		Args: cobra.MaximumNArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&f.clientID, "client-id", "", "client ID of an API key")
	fs.BoolVar(&f.secretStdin, "client-secret-stdin", false, "read the secret of the API key from standard input")
	fs.StringVar(&f.issuer, "issuer", "", "log in at this OIDC issuer: its URL, or its name in this installation")
	fs.StringVar(&f.oidcClientID, "oidc-client-id", "", "client ID of Husk at the issuer; only for an issuer of your tenant")
	fs.StringVar(&f.tenant, "tenant", "", "tenant to log in to, if you belong to more than one")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case f.clientID != "" && f.issuer != "":
			return exit.Usagef("--client-id and --issuer exclude each other: log in with an API key or in a browser")
		case f.secretStdin && f.clientID == "":
			return exit.Usagef("--client-secret-stdin needs --client-id")
		case f.oidcClientID != "" && f.issuer == "":
			return exit.Usagef("--oidc-client-id needs --issuer")
		}
		return a.login(cmd.Context(), f, args)
	}
	return cmd
}

// login gets a token, asks the API whom the token belongs to, and only then stores the context.
func (a *app) login(ctx context.Context, f loginFlags, args []string) error {
	store, known, err := connect.Contexts()
	if err != nil {
		return err
	}
	if a.context != "" {
		if err := config.CheckName(a.context); err != nil {
			return exit.UsageError{Err: err}
		}
	}
	before := known.Contexts[connect.Current(a.context, known)]
	next := config.Context{Tenant: f.tenant}
	if len(args) == 1 {
		if next.API, err = connect.CheckURL("URL", args[0]); err != nil {
			return err
		}
	} else {
		if before.API == "" {
			return exit.Usagef("no URL of the API given; run \"husk login https://husk.example.com\" with your installation's URL")
		}
		next.API = before.API
		f = f.as(before)
		next.Tenant = f.tenant
	}
	if u, err := url.Parse(next.API); err == nil && u.Scheme == "http" && !connect.IsLoopback(u.Hostname()) {
		a.hint("%s does not use TLS: others on the network can read your credentials", next.API)
	}
	api, err := client.New(next.API, client.WithProgram("husk"))
	if err != nil {
		return err
	}
	if f.clientID == "" && f.issuer == "" {
		if f, err = a.chooseLogin(ctx, api, f); err != nil {
			return err
		}
	}
	var token client.Token
	if f.clientID != "" {
		token, err = a.loginByKey(ctx, api, f, &next)
	} else {
		token, err = a.loginInBrowser(ctx, api, f, &next)
	}
	if err != nil {
		return err
	}
	who, err := connect.Identity(ctx, next.API, token)
	if err != nil {
		return err
	}
	if next.Tenant != "" && next.Tenant != openapi.Value(who.TenantName) {
		return &client.LoginError{Detail: fmt.Sprintf("%s does not belong to tenant %s", who.Name, next.Tenant)}
	}
	next.Tenant = openapi.Value(who.TenantName)
	return a.keepLogin(store, args, next, who, token)
}

// as returns the flags, filled in from a context where they are not set, so that logging in again needs only the secret.
func (f loginFlags) as(c config.Context) loginFlags {
	if f.tenant == "" {
		f.tenant = c.Tenant
	}
	switch {
	case f.clientID != "" || f.issuer != "":
	case c.APIKey != nil:
		f.clientID = c.APIKey.ClientID
	case c.OIDC != nil:
		f.issuer, f.oidcClientID = c.OIDC.Issuer, c.OIDC.ClientID
	}
	return f
}

// keepLogin stores the context and makes it the current one.
func (a *app) keepLogin(store config.Store, args []string, next config.Context, who openapi.Identity, token client.Token) error {
	name := ""
	err := store.Update(func(c *config.Config) error {
		name = connect.NewName(*c, a.context, len(args) == 0, next, who)
		c.Contexts[name] = next
		c.CurrentContext = name
		return nil
	})
	if err != nil {
		return err
	}
	connect.NewTarget(name, next, store).Keep(token)
	fmt.Fprintf(a.out, "context/%s: %s\n", name, connect.Describe(who))
	if os.Getenv("HUSK_API") != "" {
		a.hint("HUSK_API is set and takes precedence over the context; unset it, or use --context %s", name)
	}
	return nil
}

func (a *app) loginByKey(ctx context.Context, api *client.Client, f loginFlags, next *config.Context) (client.Token, error) {
	secret, err := a.secret(ctx, f)
	if err != nil {
		return client.Token{}, err
	}
	next.APIKey = &config.APIKey{ClientID: f.clientID, ClientSecret: secret}
	return api.TokenForAPIKey(ctx, f.clientID, secret)
}

// maxSecret is the maximum length of a secret, in bytes.
const maxSecret = 4096

// secret reads the secret of the API key: from standard input with --client-secret-stdin, otherwise from the terminal without showing it.
func (a *app) secret(ctx context.Context, f loginFlags) (string, error) {
	var raw []byte
	var err error
	switch {
	case f.secretStdin:
		raw, err = io.ReadAll(io.LimitReader(a.in, maxSecret))
	case a.interactive():
		fmt.Fprint(a.errs, "Secret: ")
		raw, err = terminal.ReadHidden(ctx, a.in.(*os.File)) //nolint:forcetypeassert // a terminal is a file
		fmt.Fprintln(a.errs)
	default:
		return "", exit.Usagef("no secret given; use --client-secret-stdin to read it from standard input")
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", exit.Usagef("the secret is empty")
	}
	return secret, nil
}

// chooseLogin chooses how to log in if no flag says how. On a terminal, it asks the user. Otherwise, it takes the installation's issuer if
// there is exactly one, and returns an error if not.
func (a *app) chooseLogin(ctx context.Context, api *client.Client, f loginFlags) (loginFlags, error) {
	options, err := api.LoginOptions(ctx)
	if err != nil {
		return f, err
	}
	if !a.interactive() {
		switch len(options) {
		case 0:
			return f, exit.Usagef("%s has no OIDC issuer of its own; use --client-id and --client-secret-stdin, or --issuer and --oidc-client-id for an issuer of your tenant", api.URL())
		case 1:
			f.issuer, f.oidcClientID = options[0].Issuer, options[0].ClientID
			return f, nil
		default:
			return f, exit.Usagef("%s has several OIDC issuers; choose one with --issuer: %s", api.URL(), optionNames(options))
		}
	}
	if len(options) > 0 {
		for i, o := range options {
			fmt.Fprintf(a.errs, "  %d  in a browser, at %s\n", i+1, print.Clean(o.Issuer))
		}
		fmt.Fprintf(a.errs, "  %d  with an API key\nHow do you want to log in? [1] ", len(options)+1)
		line, err := terminal.ReadLine(ctx, a.in)
		if err != nil {
			return f, err
		}
		n := 1
		if line != "" {
			if n, err = strconv.Atoi(line); err != nil || n < 1 || n > len(options)+1 {
				return f, exit.Usagef("%q is not one of the choices", line)
			}
		}
		if n <= len(options) {
			f.issuer, f.oidcClientID = options[n-1].Issuer, options[n-1].ClientID
			return f, nil
		}
	}
	fmt.Fprint(a.errs, "Client ID: ")
	if f.clientID, err = terminal.ReadLine(ctx, a.in); err == nil && f.clientID == "" {
		err = exit.Usagef("no client ID given; an owner of the tenant can create an API key with \"husk api-key create\"")
	}
	return f, err
}

func optionNames(options []openapi.LoginOption) string {
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
	}
	return strings.Join(names, ", ")
}

// loginInBrowser logs in with the device flow, and exchanges the issuer's ID token for a token of Husk.
func (a *app) loginInBrowser(ctx context.Context, api *client.Client, f loginFlags, next *config.Context) (client.Token, error) {
	var none client.Token
	if f.oidcClientID == "" {
		options, err := api.LoginOptions(ctx)
		if err != nil {
			return none, err
		}
		for _, o := range options {
			if f.issuer == o.Name || f.issuer == o.Issuer {
				f.issuer, f.oidcClientID = o.Issuer, o.ClientID
			}
		}
		if f.oidcClientID == "" {
			return none, exit.Usagef("%s is not an issuer of this installation; for an issuer of your tenant, add --oidc-client-id", f.issuer)
		}
	}
	issuer, err := oidc.Discover(ctx, api.HTTPClient(), f.issuer, f.oidcClientID)
	if err != nil {
		return none, &client.UnreachableError{Err: err}
	}
	got, err := issuer.DeviceLogin(ctx, a.showPrompt)
	if refused, ok := errors.AsType[*oidc.RefusedError](err); ok {
		return none, &client.LoginError{Detail: "not logged in: " + refused.Error()}
	}
	if errors.Is(err, context.Canceled) {
		return none, err
	}
	if err != nil {
		return none, &client.UnreachableError{Err: err}
	}
	if got.Refresh == "" {
		a.hint("%s gives no refresh token (offline_access), so this login ends in a few minutes", f.issuer)
	}
	next.OIDC = &config.OIDC{Issuer: f.issuer, ClientID: f.oidcClientID, RefreshToken: got.Refresh}
	token, err := api.TokenForIDToken(ctx, got.ID, next.Tenant)
	if refused, ok := errors.AsType[*client.LoginError](err); ok && refused.Code == string(openapi.InvalidScope) && next.Tenant == "" {
		refused.Detail += "; to choose one, run \"husk login --tenant NAME\""
		return none, refused
	}
	return token, err
}

// showPrompt prints what to do in the browser. It does so even with --quiet, because the user cannot log in otherwise.
func (a *app) showPrompt(p oidc.Prompt) {
	fmt.Fprintf(a.errs, "Open %s and enter the code %s\n", print.Clean(p.URL), print.Clean(p.Code))
	if p.Complete != "" {
		fmt.Fprintf(a.errs, "or open %s\n", print.Clean(p.Complete))
	}
	a.hint("waiting for your login …")
}

func logoutCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Forget the credentials of the current context",
		Long: `Forget the credentials of the current context, or of the one that --context names.
husk keeps the context's URL and tenant, so you can log in again with husk login.
husk revokes a refresh token at its issuer. It does not delete an API key; to do
that, use husk api-key delete.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, c, err := connect.Contexts()
			if err != nil {
				return err
			}
			name := connect.Current(a.context, c)
			if name == "" {
				return &client.LoginError{Detail: "there is no context to log out of"}
			}
			var was config.Context
			err = store.Update(func(c *config.Config) error {
				context, ok := c.Contexts[name]
				if !ok {
					return client.NotFound("context", name)
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
				if err := connect.Revoke(cmd.Context(), was); err != nil {
					a.hint("husk has forgotten the refresh token, but the issuer has not revoked it: %s", print.Clean(err.Error()))
				}
			}
			return nil
		},
	}
}

func whoamiCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "whoami", Short: "Show your identity and your role", Args: cobra.NoArgs}
	output := a.outputFlags(cmd, "text", "json", "yaml", "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		t, err := connect.Find(a.context)
		if err != nil {
			return err
		}
		c, err := t.Client()
		if err != nil {
			return err
		}
		who, err := c.WhoAmI(cmd.Context())
		if err != nil {
			return err
		}
		if printed, err := p.Value(who); printed {
			return err
		}
		if p.Format == "name" {
			p.NoHeaders = true
			return p.Table().Rows([]string{print.Clean(who.Name)})
		}
		var f print.Facts
		f.Add("Name:", who.Name)
		f.Add("Role:", string(openapi.Value(who.Role)))
		if who.LimitedTo != nil {
			f.Add("Limited to:", string(*who.LimitedTo))
		}
		f.Add("Tenant:", openapi.Value(who.TenantName))
		f.Add("Kind:", string(who.Kind))
		f.Add("ID:", who.ID.String())
		f.Add("API:", t.Context.API)
		f.Add("Context:", t.Name)
		f.Add("Token expires:", who.ExpiresAt.Format(time.RFC3339))
		return f.Print(p.Out)
	}
	return cmd
}
