// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"fmt"
	"net/http"

	"husk/client"
	"husk/test/contract"
)

// Client returns a client of the API for an API key. It checks every response against the contract.
// Stopping the stack reports the responses that do not match.
func (s *Stack) Client(id, secret string) *client.Client {
	checked, err := contract.New(http.DefaultTransport, func(format string, args ...any) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken = append(s.broken, fmt.Errorf(format, args...))
	})
	if err != nil {
		panic(err) // the contract is compiled in
	}
	c, err := client.New(s.Env["HUSK_API"], client.WithAPIKey(id, secret), client.WithTransport(checked))
	if err != nil {
		panic(err) // huskd dev has written the URL
	}
	return c
}
