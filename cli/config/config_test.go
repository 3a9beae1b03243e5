// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T) Store {
	t.Helper()
	dir := t.TempDir()
	return Store{Dir: filepath.Join(dir, "config"), CacheDir: filepath.Join(dir, "cache")}
}

func TestOnlyTheUserCanReadContexts(t *testing.T) {
	t.Parallel()
	s := open(t)
	if c, err := s.Load(); err != nil || len(c.Contexts) != 0 {
		t.Fatalf("no file yet: %v, %v", c, err)
	}
	want := Config{CurrentContext: "a", Contexts: map[string]Context{
		"a": {API: "https://husk.example.com", Tenant: "acme", APIKey: &APIKey{ClientID: "id", ClientSecret: "secret"}},
		"b": {API: "https://husk.example.com", OIDC: &OIDC{Issuer: "https://login.example.com", ClientID: "husk", RefreshToken: "refresh"}},
	}}
	if err := s.Update(func(c *Config) error { *c = want; return nil }); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := s.KeepToken("a", Token{For: "me", Value: "token", ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{s.Dir: 0o700, s.CacheDir: 0o700, s.File(): 0o600, s.tokenFile("a"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want %v", path, info.Mode(), err, mode)
		}
	}
	for _, c := range want.Contexts {
		if out := c.LoggedOut(); !c.LoggedIn() || out.LoggedIn() || out.API != c.API {
			t.Errorf("logged out: %+v", out)
		}
	}
}

func TestErrorsAboutTheFileHaveNoSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"contexts:\n  a:\n    api: x\n    pasword: hunter2":                     `line 4: there is no key "pasword"`,
		"contexts:\n  a:\n    apiKey: hunter2":                                  "line 3: the value has the wrong type",
		"contexts:\n  a: {api: hunter2, api: hunter2}":                          "line 2: the same key appears twice",
		"currentContext: hunter":                                                `currentContext is "hunter", but there is no such context`,
		"contexts: {../a: {api: hunter2}}":                                      `"../a" cannot be the name of a context`,
		"contexts: {a: {apiKey: {clientId: hunter2}, oidc: {issuer: hunter2}}}": "both apiKey and oidc",
	} {
		s := open(t)
		if err := privateDir(s.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.File(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Load()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestConcurrentChangesAreAllKept(t *testing.T) {
	t.Parallel()
	s := open(t)
	var g sync.WaitGroup
	for i := range 20 {
		g.Go(func() {
			if err := s.Update(func(c *Config) error { c.Contexts[fmt.Sprint("c", i)] = Context{API: "x"}; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if c, err := s.Load(); err != nil || len(c.Contexts) != 20 {
		t.Errorf("%d contexts, %v", len(c.Contexts), err)
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files still exist: %v, %v", left, err)
	}
}

func TestCachedTokenBelongsToItsLogin(t *testing.T) {
	t.Parallel()
	s := open(t)
	now := time.Now()
	if err := s.KeepToken("a", Token{For: "me", Value: "token", ExpiresAt: now.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Token("a", "me", now); !ok || got.Value != "token" {
		t.Errorf("%v, %v", got, ok)
	}
	for name, ask := range map[string]func() (Token, bool){
		"another login":   func() (Token, bool) { return s.Token("a", "you", now) },
		"another context": func() (Token, bool) { return s.Token("b", "me", now) },
		"too late":        func() (Token, bool) { return s.Token("a", "me", now.Add(55*time.Second)) },
		"no cache":        func() (Token, bool) { return Store{}.Token("a", "me", now) },
	} {
		if got, ok := ask(); ok {
			t.Errorf("%s gets %v", name, got)
		}
	}
	if err := s.ForgetToken("a"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Token("a", "me", now); ok {
		t.Error("a deleted token still exists")
	}
	if err := s.ForgetToken("a"); err != nil {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestXDGVariablesSelectTheDirectories(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_CACHE_HOME", "relative, which the specification says to ignore")
	got, err := Default()
	if err != nil || got != (Store{"/home/me/.config/husk", "/home/me/.cache/husk"}) {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("XDG_CONFIG_HOME", "/etc/me")
	if got, err := Default(); err != nil || got.File() != "/etc/me/husk/config.yaml" {
		t.Errorf("%+v, %v", got, err)
	}
}
