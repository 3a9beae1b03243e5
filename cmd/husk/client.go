package main

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"husk/openapi"
)

// connect makes a client from the environment. It calls nothing yet; the first call fetches a token.
func connect() (*openapi.Client, error) {
	values := map[string]string{"HUSK_API": "", "HUSK_CLIENT_ID": "", "HUSK_CLIENT_SECRET": ""}
	for _, name := range []string{"HUSK_API", "HUSK_CLIENT_ID", "HUSK_CLIENT_SECRET"} {
		if values[name] = os.Getenv(name); values[name] == "" {
			return nil, usagef("%s is not set; after make up, `. build/dev.env` sets it", name)
		}
	}
	api := strings.TrimSuffix(values["HUSK_API"], "/")
	if u, err := url.Parse(api); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, usagef("HUSK_API: %q is not a URL such as https://husk.example.com", api)
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	transport = transport.Clone()
	transport.ResponseHeaderTimeout = 60 * time.Second
	base := &http.Client{Transport: retrier{transport, backoff}}
	oauth := clientcredentials.Config{
		ClientID: values["HUSK_CLIENT_ID"], ClientSecret: values["HUSK_CLIENT_SECRET"], TokenURL: api + "/oauth2/token",
		AuthStyle: oauth2.AuthStyleInHeader,
	}
	// The token source outlives single calls, so it gets a context of its own; each call brings the one that cancels it.
	return openapi.NewClient(api, openapi.WithHTTPClient(oauth.Client(context.WithValue(context.Background(), oauth2.HTTPClient, base))))
}

// newKey makes an Idempotency-Key, so that a request whose answer was lost can be repeated.
func newKey() *openapi.IdempotencyKey {
	key := uuid.NewString()
	return &key
}
