// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"husk/egress"
	"husk/strictjson"
)

const (
	askTimeout  = 10 * time.Second // for each of the two documents
	maxDocument = 1 << 20          // bytes of each
	maxIssuer   = 512              // bytes of an issuer's URL
)

// checkIssuer checks the form of an issuer (OpenID Connect Discovery §3): a URL without query and
// fragment. The policy decides whether plain HTTP is allowed, once the address is known.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil:
		return misconfigured(issuer, "it is not a URL", err)
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.Opaque != "":
		return misconfigured(issuer, "it is not a URL that begins with https://", nil)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, strings.Contains(issuer, "#"):
		return misconfigured(issuer, "its URL has a user, a query or a fragment, which is not allowed for an issuer", nil)
	case len(issuer) > maxIssuer:
		return misconfigured(issuer[:maxIssuer]+"…", fmt.Sprintf("its URL is longer than %d bytes", maxIssuer), nil)
	}
	return nil
}

// places are the URLs of an issuer's endpoints.
type places struct {
	keys, authorization, token string
}

// discover reads the endpoints of an issuer (OpenID Connect Discovery §4). The two endpoints of the code flow are
// optional.
func discover(ctx context.Context, client *http.Client, issuer string) (places, error) {
	data, err := read(ctx, client, issuer, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return places{}, err
	}
	var doc struct {
		Issuer           string `json:"issuer"`
		KeysURL          string `json:"jwks_uri"`
		AuthorizationURL string `json:"authorization_endpoint"`
		TokenURL         string `json:"token_endpoint"`
	}
	if err := errors.Join(strictjson.Check(data, maxDepth), json.Unmarshal(data, &doc)); err != nil {
		return places{}, misconfigured(issuer, "its discovery document is not valid JSON", err)
	}
	// Otherwise one issuer could impersonate another (§4.3).
	if doc.Issuer != issuer {
		return places{}, misconfigured(issuer, fmt.Sprintf("its discovery document has the issuer %.*q; the two must be exactly equal", maxIssuer, doc.Issuer), nil)
	}
	if u, err := url.Parse(doc.KeysURL); err != nil || u.Host == "" {
		return places{}, misconfigured(issuer, "its discovery document has no URL for keys (jwks_uri)", err)
	}
	return places{doc.KeysURL, doc.AuthorizationURL, doc.TokenURL}, nil
}

// readKeys reads the keys.
func readKeys(ctx context.Context, client *http.Client, issuer, keysURL string) ([]key, error) {
	data, err := read(ctx, client, issuer, keysURL)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(data)
	if err != nil {
		return nil, misconfigured(issuer, "its keys (jwks_uri) are not valid", err)
	}
	return keys, nil
}

// read gets one document. It returns an *IssuerError.
func read(ctx context.Context, client *http.Client, issuer, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, misconfigured(issuer, "it uses an invalid URL", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if errors.Is(err, egress.ErrRedirect) {
		return nil, misconfigured(issuer, "it redirects too many times, or from https to http", err)
	}
	if err != nil {
		return nil, unreachable(issuer, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
			return nil, overloaded(issuer, from, resp)
		}
		err := fmt.Errorf("%s responded %s", from, resp.Status)
		return nil, misconfigured(issuer, fmt.Sprintf("it responds with status %d instead of its discovery document or keys", resp.StatusCode), err)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, unreachable(issuer, err)
	}
	if len(data) > maxDocument {
		return nil, misconfigured(issuer, fmt.Sprintf("its responses are longer than %d bytes", maxDocument), fmt.Errorf("read %s", from))
	}
	return data, nil
}
