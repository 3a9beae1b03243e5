package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cmd/husk/config"
	"husk/cmd/husk/oidc"
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
		Short: "Log in to a Husk, with an API key or in a browser, and make it the current context",
		Long: `Log in to a Husk and make it the current context. URL is the API's; without it
the context is logged in again that is the current one or that --context names.

With --client-id the login is an API key, whose secret comes from standard input
or is asked for on the terminal; it is never an argument. With --issuer, or
where the installation has an issuer and you have no key, it is a login in a
browser: husk prints a URL and a code, and waits. A tenant's own issuer is named
by --issuer and --oidc-client-id; the installation's are found.

The context is kept in ~/.config/husk/config.yaml (XDG_CONFIG_HOME is
respected), which only you can read. Its name is the tenant's unless --context
gives one.`,
		Example: `  husk login https://husk.example.com
  husk login https://husk.example.com --tenant acme
  husk login https://husk.example.com --context ci --client-id 4f5c0f0e-6d5e-4c7b-8d3c-0c8a4f1f2f11 --client-secret-stdin < secret`,
		Args: cobra.MaximumNArgs(1),
	}
	fs := cmd.Flags()
	fs.StringVar(&f.clientID, "client-id", "", "client id of an API key")
	fs.BoolVar(&f.secretStdin, "client-secret-stdin", false, "read the API key's secret from standard input")
	fs.StringVar(&f.issuer, "issuer", "", "log in at this OIDC issuer, by URL or by its name in this installation")
	fs.StringVar(&f.oidcClientID, "oidc-client-id", "", "what Husk is called at the issuer; only for a tenant's own issuer")
	fs.StringVar(&f.tenant, "tenant", "", "the tenant, for who may enter several")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case f.clientID != "" && f.issuer != "":
			return usagef("--client-id and --issuer exclude each other: log in with an API key, or in a browser")
		case f.secretStdin && f.clientID == "":
			return usagef("--client-secret-stdin needs --client-id")
		case f.oidcClientID != "" && f.issuer == "":
			return usagef("--oidc-client-id needs --issuer")
		}
		return a.login(cmd.Context(), f, args)
	}
	return cmd
}

// login gets a token, asks who it speaks for, and only then keeps the context.
func (a *app) login(ctx context.Context, f loginFlags, args []string) error {
	store, known, err := loadContexts()
	if err != nil {
		return err
	}
	if a.context != "" {
		if err := config.CheckName(a.context); err != nil {
			return usageError{err}
		}
	}
	before := known.Contexts[a.currentName(known)]
	next := config.Context{Tenant: f.tenant}
	if len(args) == 1 {
		if next.API, err = checkURL("URL", args[0]); err != nil {
			return err
		}
	} else {
		if before.API == "" {
			return usagef("the URL of the API is needed, such as husk login https://husk.example.com")
		}
		next.API = before.API
		f = f.as(before)
		next.Tenant = f.tenant
	}
	if u, err := url.Parse(next.API); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		a.hint("%s is not https: whoever is on the way can read the login", next.API)
	}
	base := web()
	if f.clientID == "" && f.issuer == "" {
		if f, err = a.chooseLogin(ctx, base, next.API, f); err != nil {
			return err
		}
	}
	var token *openapi.Token
	if f.clientID != "" {
		token, err = a.loginByKey(ctx, base, f, &next)
	} else {
		token, err = a.loginInBrowser(ctx, base, f, &next)
	}
	if err != nil {
		return err
	}
	who, err := whoIs(ctx, base, next.API, token.AccessToken)
	if err != nil {
		return err
	}
	if next.Tenant != "" && next.Tenant != value(who.TenantName) {
		return loginError{fmt.Sprintf("%s does not belong to tenant %s", who.Name, next.Tenant)}
	}
	next.Tenant = value(who.TenantName)
	return a.keepLogin(store, args, next, who, token)
}

// as fills in what a context knows, so that logging in again asks for nothing but the secret.
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

// keepLogin makes the context and the current one of it.
func (a *app) keepLogin(store config.Store, args []string, next config.Context, who openapi.Identity, token *openapi.Token) error {
	name := ""
	err := store.Update(func(c *config.Config) error {
		name = contextName(*c, a.context, a.currentName(*c), len(args) == 0, next, who)
		c.Contexts[name] = next
		c.CurrentContext = name
		return nil
	})
	if err != nil {
		return err
	}
	t := target{name: name, context: next, store: store}
	_ = store.KeepToken(name, config.Token{ //nolint:errcheck // without a cache the next call gets its own token
		For: t.fingerprint(), Value: token.AccessToken, ExpiresAt: time.Now().Add(time.Duration(token.ExpiresIn) * time.Second),
	})
	fmt.Fprintf(a.out, "context/%s: %s\n", name, describeIdentity(who))
	if os.Getenv("HUSK_API") != "" {
		a.hint("HUSK_API is set, and wins over the context; unset it, or use --context %s", name)
	}
	return nil
}

// contextName is the name that was asked for, else that of the context that is logged in again, else one after the tenant.
func contextName(c config.Config, asked, current string, again bool, next config.Context, who openapi.Identity) string {
	if asked != "" {
		return asked
	}
	if again && current != "" {
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

func (a *app) loginByKey(ctx context.Context, base *http.Client, f loginFlags, next *config.Context) (*openapi.Token, error) {
	secret, err := a.secret(ctx, f)
	if err != nil {
		return nil, err
	}
	next.APIKey = &config.APIKey{ClientID: f.clientID, ClientSecret: secret}
	token, err := keyToken(ctx, base, next.API, *next.APIKey)
	if refused, ok := errors.AsType[oauthError](err); ok {
		return nil, refused.loginError
	}
	return token, err
}

// maxSecret bounds what is read of a secret, in bytes.
const maxSecret = 4096

// secret reads the API key's secret: from standard input if that was asked for, else from the terminal without showing it.
func (a *app) secret(ctx context.Context, f loginFlags) (string, error) {
	var raw []byte
	var err error
	switch {
	case f.secretStdin:
		raw, err = io.ReadAll(io.LimitReader(a.in, maxSecret))
	case a.asks():
		fmt.Fprint(a.errs, "Secret: ")
		raw, err = readHidden(ctx, a.in.(*os.File)) //nolint:forcetypeassert // a terminal is a file
		fmt.Fprintln(a.errs)
	default:
		return "", usagef("the secret is needed; --client-secret-stdin reads it from standard input")
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", usagef("the secret is empty")
	}
	return secret, nil
}

// chooseLogin finds out how to log in where nothing was said: it asks on a terminal, and elsewhere takes the one issuer that there is.
func (a *app) chooseLogin(ctx context.Context, base *http.Client, api string, f loginFlags) (loginFlags, error) {
	options, err := loginOptions(ctx, base, api)
	if err != nil {
		return f, err
	}
	if !a.asks() {
		switch len(options) {
		case 0:
			return f, usagef("%s has no OIDC issuer of its own; use --client-id and --client-secret-stdin, or --issuer and --oidc-client-id for your tenant's", api)
		case 1:
			f.issuer, f.oidcClientID = options[0].Issuer, options[0].ClientID
			return f, nil
		default:
			return f, usagef("%s has several OIDC issuers; say which with --issuer: %s", api, optionNames(options))
		}
	}
	if len(options) > 0 {
		for i, o := range options {
			fmt.Fprintf(a.errs, "  %d  in a browser, at %s\n", i+1, clean(o.Issuer))
		}
		fmt.Fprintf(a.errs, "  %d  with an API key\nLog in how? [1] ", len(options)+1)
		line, err := readLine(ctx, a.in)
		if err != nil {
			return f, err
		}
		n := 1
		if line != "" {
			if n, err = strconv.Atoi(line); err != nil || n < 1 || n > len(options)+1 {
				return f, usagef("%q is not one of them", line)
			}
		}
		if n <= len(options) {
			f.issuer, f.oidcClientID = options[n-1].Issuer, options[n-1].ClientID
			return f, nil
		}
	}
	fmt.Fprint(a.errs, "Client id: ")
	if f.clientID, err = readLine(ctx, a.in); err == nil && f.clientID == "" {
		err = usagef("a client id is needed; owners make API keys with husk api-key create")
	}
	return f, err
}

func loginOptions(ctx context.Context, base *http.Client, api string) ([]openapi.LoginOption, error) {
	c, err := openapi.NewClient(api, openapi.WithHTTPClient(base))
	if err != nil {
		return nil, err
	}
	options, err := answer[openapi.LoginOptions](c.GetLoginOptions(ctx))
	return options.Issuers, err
}

func optionNames(options []openapi.LoginOption) string {
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
	}
	return strings.Join(names, ", ")
}

// loginInBrowser is the device flow, and the exchange of what it gives.
func (a *app) loginInBrowser(ctx context.Context, base *http.Client, f loginFlags, next *config.Context) (*openapi.Token, error) {
	if f.oidcClientID == "" {
		options, err := loginOptions(ctx, base, next.API)
		if err != nil {
			return nil, err
		}
		for _, o := range options {
			if f.issuer == o.Name || f.issuer == o.Issuer {
				f.issuer, f.oidcClientID = o.Issuer, o.ClientID
			}
		}
		if f.oidcClientID == "" {
			return nil, usagef("%s is not an issuer of this installation; for your tenant's own, --oidc-client-id is needed too", f.issuer)
		}
	}
	issuer, err := oidc.Discover(ctx, base, f.issuer, f.oidcClientID)
	if err != nil {
		return nil, unreachableError{err}
	}
	got, err := issuer.DeviceLogin(ctx, a.showPrompt)
	if refused, ok := errors.AsType[*oidc.RefusedError](err); ok {
		return nil, loginError{"not logged in: " + refused.Error()}
	}
	if errors.Is(err, context.Canceled) {
		return nil, err
	}
	if err != nil {
		return nil, unreachableError{err}
	}
	if got.Refresh == "" {
		a.hint("%s gives no refresh token (offline_access), so this login ends in some minutes", f.issuer)
	}
	next.OIDC = &config.OIDC{Issuer: f.issuer, ClientID: f.oidcClientID, RefreshToken: got.Refresh}
	token, err := exchange(ctx, base, next.API, got.ID, next.Tenant)
	if refused, ok := errors.AsType[oauthError](err); ok {
		if refused.code == openapi.InvalidScope && next.Tenant == "" {
			refused.text += "; here, husk login --tenant NAME"
		}
		return nil, refused.loginError
	}
	return token, err
}

// showPrompt tells what to do in the browser, even if quiet: without it there is no login.
func (a *app) showPrompt(p oidc.Prompt) {
	fmt.Fprintf(a.errs, "Open %s and enter the code %s\n", clean(p.URL), clean(p.Code))
	if p.Complete != "" {
		fmt.Fprintf(a.errs, "or open %s\n", clean(p.Complete))
	}
	a.hint("waiting until that is done …")
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}
