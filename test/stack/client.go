package stack

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"husk/openapi"
	"husk/test/contract"
)

// Client is a client of the API for an API key. Every answer that it gets is checked against the contract; stopping the stack reports those
// that do not match.
func (s *Stack) Client(id, secret string) *openapi.ClientWithResponses {
	checked, err := contract.New(http.DefaultTransport, func(format string, args ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, fmt.Errorf(format, args...))
	})
	if err != nil {
		panic(err) // the contract is compiled in
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: checked})
	oauth := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: s.Env["HUSK_API"] + "/oauth2/token"}
	c, err := openapi.NewClientWithResponses(s.Env["HUSK_API"], openapi.WithHTTPClient(oauth.Client(ctx)))
	if err != nil {
		panic(err) // only an option can fail, and ours does not
	}
	return c
}

// answerError is the error of an answer that a test did not want.
func answerError(resp *http.Response, body []byte) error {
	return fmt.Errorf("%s: %s", resp.Status, body)
}
