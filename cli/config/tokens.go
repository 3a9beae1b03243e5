// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Token is a cached token of Husk.
type Token struct {
	For       string    `json:"for"` // identifies the login that the token was made for, because another login can have the same context name
	Value     string    `json:"value"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Token returns the cached token of a context, if there is one. A cache that cannot be read counts as empty.
func (s Store) Token(context, owner string, now time.Time) (Token, bool) {
	if s.CacheDir == "" {
		return Token{}, false
	}
	raw, err := readSmall(s.tokenFile(context))
	if err != nil {
		return Token{}, false
	}
	var t Token
	if json.Unmarshal(raw, &t) != nil || t.For != owner || !now.Add(early).Before(t.ExpiresAt) {
		return Token{}, false
	}
	return t, true
}

// early is how long before its expiry a token stops being used, so that it does not expire on its way to the server.
const early = 10 * time.Second

// KeepToken puts a token into the cache.
func (s Store) KeepToken(context string, t Token) error {
	if s.CacheDir == "" {
		return nil
	}
	if err := privateDir(s.CacheDir); err != nil {
		return err
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return replace(s.tokenFile(context), raw)
}

// ForgetToken removes a context's token from the cache.
func (s Store) ForgetToken(context string) error {
	if s.CacheDir == "" {
		return nil
	}
	if err := os.Remove(s.tokenFile(context)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s Store) tokenFile(context string) string {
	return filepath.Join(s.CacheDir, "token-"+context+".json")
}
