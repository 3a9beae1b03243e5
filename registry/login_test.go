// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"strings"
	"testing"
)

func TestALoginIsChosenByTheRegistryOfTheImage(t *testing.T) {
	t.Parallel()
	const config = `{"auths": {
		"registry.example.com": {"username": "whole", "password": "a"},
		"registry.example.com/team": {"auth": "dGVhbTpzZTpjcmV0"},
		"https://index.docker.io/v1/": {"auth": "aHViOmI="},
		"https://other.example.com:5000/v2/": {"username": "port", "password": "c"},
		"empty.example.com": {}
	}, "credsStore": "desktop"}`
	for reference, want := range map[string]Auth{
		"registry.example.com/web:1":        {Username: "whole", Password: "a"},
		"registry.example.com/team/web":     {Username: "team", Password: "se:cret"},
		"registry.example.com/teamwork/web": {Username: "whole", Password: "a"},
		"busybox":                           {Username: "hub", Password: "b"},
		"docker.io/library/busybox:1":       {Username: "hub", Password: "b"},
		"other.example.com:5000/web@sha256:" + strings.Repeat("a", 64): {Username: "port", Password: "c"},
		"other.example.com/web":                  {},
		"registry.example.com.attacker.test/web": {},
		"empty.example.com/web":                  {},
		"NOT A REFERENCE":                        {},
	} {
		got, ok, err := Login([]byte(config), reference)
		if err != nil || got != want || ok != (want != Auth{}) {
			t.Errorf("%s: %+v %v %v, want %+v", reference, got, ok, err, want)
		}
	}
	for _, broken := range []string{"", "user:password", `{"auths": []}`, `{"auths": {"registry.example.com": {"auth": "not base64 s3cret"}}}`, `{"auths": {"registry.example.com": {"auth": "czNjcmV0"}}}`} {
		if _, _, err := Login([]byte(broken), "registry.example.com/web"); !errors.Is(err, ErrLogins) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", broken, err)
		}
	}
}
