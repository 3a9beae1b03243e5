// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"net/http"
	"strings"
	"testing"

	"husk"
)

// What agents respond when they refuse something, and what the caller learns of it.
func TestARefusalOfAnAgent(t *testing.T) {
	t.Parallel()
	a := New(Config{Known: func(code husk.Code) bool { return code == husk.CodeConflict }})
	for name, c := range map[string]struct {
		status int
		body   string
		code   husk.Code
		says   string
	}{
		"a problem":             {http.StatusConflict, `{"code":"conflict","detail":"the container has ended"}`, husk.CodeConflict, "the container has ended"},
		"an internal problem":   {http.StatusInternalServerError, `{"code":"internal","detail":"/var/lib/husk is full"}`, husk.CodeUnavailable, "does not respond"},
		"something else":        {http.StatusBadGateway, "<html>", husk.CodeUnavailable, "does not respond"},
		"an unknown operation":  {http.StatusNotFound, "404 page not found\n", husk.CodeUnavailable, "update the agent"},
		"something that is not": {http.StatusNotFound, `{"code":"conflict","detail":"no such container"}`, husk.CodeConflict, "no such container"},
	} {
		err := a.Refused(husk.Node{Name: "n1"}, c.status, []byte(c.body))
		if husk.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
