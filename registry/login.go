// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// ErrLogins is returned for a text that is not a configuration of docker. It does not repeat the text, which has passwords.
var ErrLogins = errors.New("expected the JSON that docker login writes to ~/.docker/config.json")

// dockerConfig is the part of docker's configuration that has logins, by registry.
type dockerConfig struct {
	Auths map[string]struct {
		Auth     string `json:"auth"` // USER:PASSWORD in base64
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"auths"`
}

// Login returns the login for the registry of a reference from docker's configuration, and false if there is none. A login for a part of the
// registry counts only for the images in it, and more than one for the whole registry.
func Login(config []byte, reference string) (Auth, bool, error) {
	var c dockerConfig
	if err := json.Unmarshal(config, &c); err != nil {
		return Auth{}, false, ErrLogins
	}
	ref, err := name.ParseReference(reference)
	if err != nil {
		return Auth{}, false, nil //nolint:nilerr // resolving the reference reports what is wrong
	}
	want := ref.Context().RegistryStr() + "/" + ref.Context().RepositoryStr()
	best, found := Auth{}, ""
	for server, login := range c.Auths {
		at := serverOf(server)
		if len(at) <= len(found) || want != at && !strings.HasPrefix(want, at+"/") {
			continue
		}
		auth := Auth{Username: login.Username, Password: login.Password}
		if login.Auth != "" {
			raw, err := base64.StdEncoding.DecodeString(login.Auth)
			user, password, ok := strings.Cut(string(raw), ":")
			if err != nil || !ok {
				return Auth{}, false, ErrLogins
			}
			auth = Auth{Username: user, Password: strings.TrimRight(password, "\x00")}
		}
		best, found = auth, at
	}
	return best, found != "" && best.Username != "", nil
}

// serverOf returns the registry, and the path in it, that a key of docker's configuration names. Older versions of docker write a URL of the API.
func serverOf(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	for _, version := range []string{"/v1", "/v2"} {
		key = strings.TrimSuffix(key, version)
	}
	if host, path, _ := strings.Cut(key, "/"); host == "docker.io" || host == "registry-1.docker.io" {
		return strings.TrimSuffix("index.docker.io/"+path, "/")
	}
	return key
}
