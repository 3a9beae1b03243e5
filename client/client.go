// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"husk/openapi"
	"husk/version"
)

// Client calls one Husk installation with one identity. It may be used by several goroutines at once.
type Client struct {
	// The objects of a tenant.
	Pods      Pods
	Volumes   Volumes
	Snapshots Snapshots
	Configs   Configs
	Networks  Networks
	Services  Services
	Addresses Addresses
	Ingresses Ingresses

	SecurityGroups SecurityGroups

	Images Images
	Events Events

	// The accounts and users that have access to a tenant, and the tenant's issuers.
	ServiceAccounts ServiceAccounts
	Users           Users
	Issuers         Issuers
	PlatformIssuers Issuers // of the installation
	SigningKeys     SigningKeys

	// The objects that an operator manages.
	Tenants Tenants
	Nodes   Nodes
	Pools   Pools

	url  string
	base *http.Client // retries, and sends no token
	api  *openapi.Client
}

// Option configures a Client.
type Option func(*options)

type options struct {
	transport http.RoundTripper
	source    func(c *Client) TokenSource // nil: no token is sent
	program   string
}

// WithAPIKey logs in with the API key of a service account.
func WithAPIKey(clientID, clientSecret string) Option {
	return func(o *options) {
		o.source = func(c *Client) TokenSource { return apiKey{c, clientID, clientSecret} }
	}
}

// WithIDToken logs in as a user whom an OIDC issuer knows. idToken is called for each new token of Husk, about every 15 minutes, and
// returns an ID token that has not expired. tenant is the tenant's name; it may be empty if the user belongs to only one tenant.
func WithIDToken(idToken func() (string, error), tenant string) Option {
	return func(o *options) {
		o.source = func(c *Client) TokenSource { return idTokens{c, idToken, tenant} }
	}
}

// WithTokenSource takes tokens from elsewhere, such as a cache.
func WithTokenSource(s TokenSource) Option {
	return func(o *options) { o.source = func(*Client) TokenSource { return s } }
}

// WithTransport sends requests through this transport, such as one that trusts an authority of your own or that records traces.
// The default is a copy of [http.DefaultTransport] that waits 60 seconds for a response to begin.
func WithTransport(t http.RoundTripper) Option {
	return func(o *options) { o.transport = t }
}

// WithProgram is the name of the program in the User-Agent header, in front of the version of Husk. The default is husk-go.
func WithProgram(name string) Option {
	return func(o *options) { o.program = name }
}

// New makes a client for the API at this URL, such as https://husk.example.com. Without an option that logs in, it can only call operations
// that need no token, such as [Client.LoginOptions].
func New(apiURL string, opts ...Option) (*Client, error) {
	apiURL, err := CheckURL(apiURL)
	if err != nil {
		return nil, err
	}
	o := options{transport: defaultTransport(), program: "husk-go"}
	for _, option := range opts {
		option(&o)
	}
	c := &Client{url: apiURL, base: &http.Client{Transport: retrier{named{o.transport, version.UserAgent(o.program)}, pause}}}
	web := c.base
	if o.source != nil {
		web = &http.Client{Transport: authorizer{next: c.base.Transport, tokens: &tokens{source: o.source(c), now: time.Now}}}
	}
	if c.api, err = openapi.NewClient(apiURL, openapi.WithHTTPClient(web), openapi.WithRequestEditorFn(setIfMatch)); err != nil {
		return nil, err
	}
	c.SecurityGroups = SecurityGroups{c}
	c.Pods, c.Volumes, c.Snapshots, c.Configs, c.Networks, c.Services, c.Addresses, c.Ingresses, c.Images, c.Events = Pods{c}, Volumes{c}, Snapshots{c}, Configs{c}, Networks{c}, Services{c}, Addresses{c}, Ingresses{c}, Images{c}, Events{c}
	c.ServiceAccounts, c.Users, c.Issuers = ServiceAccounts{c}, Users{c}, Issuers{c: c}
	c.PlatformIssuers, c.SigningKeys = Issuers{c, true}, SigningKeys{c}
	c.Tenants, c.Nodes, c.Pools = Tenants{c}, Nodes{c}, Pools{c}
	return c, nil
}

// named sets the User-Agent header of requests that have none.
type named struct {
	next  http.RoundTripper
	agent string
}

// RoundTrip implements http.RoundTripper.
func (n named) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", n.agent)
	}
	return n.next.RoundTrip(req)
}

// FromEnvironment makes a client from HUSK_API, HUSK_CLIENT_ID and HUSK_CLIENT_SECRET, as the husk command does.
func FromEnvironment(opts ...Option) (*Client, error) {
	value := map[string]string{}
	for _, name := range []string{"HUSK_API", "HUSK_CLIENT_ID", "HUSK_CLIENT_SECRET"} {
		if value[name] = os.Getenv(name); value[name] == "" {
			return nil, &LoginError{Detail: name + " is not set"}
		}
	}
	return New(value["HUSK_API"], append([]Option{WithAPIKey(value["HUSK_CLIENT_ID"], value["HUSK_CLIENT_SECRET"])}, opts...)...)
}

// CheckURL checks the URL of an API and removes a slash at the end of it.
func CheckURL(text string) (string, error) {
	api := strings.TrimSuffix(text, "/")
	u, err := url.Parse(api)
	if err == nil && u.User != nil {
		return "", errors.New("the URL has a user or password in it; leave them out")
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is not a URL such as https://husk.example.com", text)
	}
	return api, nil
}

// URL returns the URL of the API.
func (c *Client) URL() string { return c.url }

// HTTPClient sends requests as this client does, with its retries but without its token. It is for an OIDC issuer; see package client/oidc.
func (c *Client) HTTPClient() *http.Client { return c.base }

// API returns the generated client, for operations that have no method here. It uses this client's token and retries. See [Decode] for its responses.
func (c *Client) API() *openapi.Client { return c.api }

func defaultTransport() http.RoundTripper {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = 60 * time.Second
	return transport
}

type ifMatchKey struct{}

// IfMatch returns a context in which changes and deletions succeed only if the object still has this ETag. Otherwise the API says that somebody
// else has changed it ([husk.CodePreconditionFailed]).
func IfMatch(ctx context.Context, etag string) context.Context {
	return context.WithValue(ctx, ifMatchKey{}, etag)
}

// setIfMatch sets the If-Match header of a request that changes or deletes an object.
func setIfMatch(ctx context.Context, req *http.Request) error {
	if etag, ok := ctx.Value(ifMatchKey{}).(string); ok && etag != "" && (req.Method == http.MethodPatch || req.Method == http.MethodDelete) {
		req.Header.Set("If-Match", etag)
	}
	return nil
}

// newKey makes an Idempotency-Key, so that a request whose response was lost can be repeated.
func newKey() *openapi.IdempotencyKey { return new(uuid.NewString()) }

// given returns a pointer to a value, or nil for a zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
