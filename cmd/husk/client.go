package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk/cmd/husk/config"
	"husk/openapi"
)

// target is whom to talk to, and as whom.
type target struct {
	name    string // of the context; empty when the environment says it all
	context config.Context
	store   config.Store
}

// environment are the variables that together take the place of a context.
var environment = []string{"HUSK_API", "HUSK_CLIENT_ID", "HUSK_CLIENT_SECRET"}

// target finds out which Husk is meant: --context, then the environment, then HUSK_CONTEXT, then the current context.
func (a *app) target() (target, error) {
	if a.context == "" {
		if t, given, err := fromEnvironment(); given || err != nil {
			return t, err
		}
	}
	store, err := config.Default()
	if err != nil {
		return target{}, usageError{err}
	}
	c, err := store.Load()
	if err != nil {
		return target{}, usageError{err}
	}
	name := a.context
	if name == "" {
		name = os.Getenv("HUSK_CONTEXT")
	}
	if name == "" {
		name = c.CurrentContext
	}
	if name == "" {
		return target{}, loginError{"there is no context and HUSK_API is not set; husk login URL makes a context"}
	}
	context, ok := c.Contexts[name]
	if !ok {
		return target{}, noSuch("context", name)
	}
	t := target{name, context, store}
	if _, cached := store.Token(name, t.fingerprint(), time.Now()); !context.LoggedIn() && !cached { // an issuer may give no refresh token
		return target{}, loginError{"context " + name + " is logged out; husk login --context " + name + " logs in again"}
	}
	t.context.API, err = checkURL("api of context "+name, context.API)
	return t, err
}

// fromEnvironment is a target that the environment says all of. Half of one is a mistake.
func fromEnvironment() (t target, given bool, err error) {
	values := map[string]string{}
	for _, name := range environment {
		if v := os.Getenv(name); v != "" {
			values[name] = v
		}
	}
	if len(values) == 0 {
		return target{}, false, nil
	}
	for _, name := range environment {
		if values[name] == "" {
			return target{}, true, usagef("%s is not set, and the others of %s are; set all or none", name, strings.Join(environment, ", "))
		}
	}
	api, err := checkURL("HUSK_API", values["HUSK_API"])
	if err != nil {
		return target{}, true, err
	}
	key := config.APIKey{ClientID: values["HUSK_CLIENT_ID"], ClientSecret: values["HUSK_CLIENT_SECRET"]}
	return target{context: config.Context{API: api, APIKey: &key}}, true, nil
}

// checkURL brings a URL of an API into one form.
func checkURL(what, text string) (string, error) {
	api := strings.TrimSuffix(text, "/")
	u, err := url.Parse(api)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		if err == nil && u.User != nil {
			return "", usagef("%s: a URL with a password in it is not taken", what)
		}
		return "", usagef("%s: %q is not a URL such as https://husk.example.com", what, text)
	}
	return api, nil
}

// connect makes a client. It calls nothing yet; the first call gets a token.
func (a *app) connect() (*openapi.Client, error) {
	t, err := a.target()
	if err != nil {
		return nil, err
	}
	return t.client(web())
}

func (t target) client(base *http.Client) (*openapi.Client, error) {
	authorized := &http.Client{Transport: authorizer{next: base.Transport, tokens: newTokens(t, base)}}
	return openapi.NewClient(t.context.API, openapi.WithHTTPClient(authorized))
}

// web is a client that repeats what may be repeated and has no token yet.
func web() *http.Client {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = 60 * time.Second
	return &http.Client{Transport: retrier{transport, wait}}
}

// newKey makes an Idempotency-Key, so that a request whose answer was lost can be repeated.
func newKey() *openapi.IdempotencyKey {
	key := uuid.NewString()
	return &key
}
