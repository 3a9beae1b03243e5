// SPDX-License-Identifier: Apache-2.0

// Package config stores what the command line remembers between calls: the contexts and, separately, a cache of short-lived tokens. A context
// is an installation of Husk and a login there.
//
// Both have secrets, so their files have the mode 0600 in directories with the mode 0700. Each file is replaced as a whole, by a rename. The
// package uses neither the network nor the command line.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
	"gopkg.in/yaml.v3"
)

// Config is the file config.yaml.
type Config struct {
	CurrentContext string             `yaml:"currentContext,omitempty"`
	Contexts       map[string]Context `yaml:"contexts,omitempty"`
}

// Context is an installation of Husk and a login there: an API key, or a user of an OIDC issuer. A context that is logged out has neither
// secret.
type Context struct {
	API    string  `yaml:"api"`
	Tenant string  `yaml:"tenant,omitempty"`
	APIKey *APIKey `yaml:"apiKey,omitempty"`
	OIDC   *OIDC   `yaml:"oidc,omitempty"`
}

// APIKey are the credentials of a service account.
type APIKey struct {
	ClientID     string `yaml:"clientId"`
	ClientSecret string `yaml:"clientSecret,omitempty"`
}

// OIDC is the login of a user. The refresh token gets ID tokens, which are exchanged for tokens of Husk.
type OIDC struct {
	Issuer       string `yaml:"issuer"`
	ClientID     string `yaml:"clientId"`
	RefreshToken string `yaml:"refreshToken,omitempty"`
}

// LoggedIn reports whether the context has a secret to get tokens with.
func (c Context) LoggedIn() bool {
	return c.APIKey != nil && c.APIKey.ClientSecret != "" || c.OIDC != nil && c.OIDC.RefreshToken != ""
}

// LoggedOut returns the context without its secrets. To log in again, only the secrets are needed.
func (c Context) LoggedOut() Context {
	if c.APIKey != nil {
		c.APIKey = &APIKey{ClientID: c.APIKey.ClientID}
	}
	if c.OIDC != nil {
		c.OIDC = &OIDC{Issuer: c.OIDC.Issuer, ClientID: c.OIDC.ClientID}
	}
	return c
}

// Names returns the names of the contexts, sorted.
func (c Config) Names() []string { return slices.Sorted(maps.Keys(c.Contexts)) }

// Store is the location of the files.
type Store struct {
	Dir      string // of config.yaml
	CacheDir string // of the tokens; empty if they are not kept
}

// Default returns the user's store: XDG_CONFIG_HOME and XDG_CACHE_HOME, or .config and .cache in the home directory.
func Default() (Store, error) {
	dir, err := base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Store{}, err
	}
	cache, err := base("XDG_CACHE_HOME", ".cache")
	if err != nil {
		return Store{}, err
	}
	return Store{Dir: dir, CacheDir: cache}, nil
}

func base(variable, under string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) { // the XDG specification says to ignore a relative path
		return filepath.Join(dir, "husk"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no directory for contexts: %w; set HOME or %s", err, variable)
	}
	return filepath.Join(home, under, "husk"), nil
}

// File returns the path of config.yaml.
func (s Store) File() string { return filepath.Join(s.Dir, "config.yaml") }

// maxFile is the maximum size of a file, in bytes. A context needs a few hundred.
const maxFile = 1 << 20

// Load reads the contexts. It is not an error if the file does not exist yet.
func (s Store) Load() (Config, error) {
	raw, err := readSmall(s.File())
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, err
	}
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s is invalid: %s", s.File(), withoutValues(err))
	}
	for name, context := range c.Contexts {
		if err := CheckName(name); err != nil {
			return Config{}, fmt.Errorf("%s: %w", s.File(), err)
		}
		if context.APIKey != nil && context.OIDC != nil {
			return Config{}, fmt.Errorf("%s: context %s has both apiKey and oidc; keep one", s.File(), name)
		}
	}
	if c.CurrentContext != "" {
		if _, ok := c.Contexts[c.CurrentContext]; !ok {
			return Config{}, fmt.Errorf("%s: currentContext is %q, but there is no such context", s.File(), c.CurrentContext)
		}
	}
	return c, nil
}

// withoutValues returns the message of a decoder without the values of the file, because a value may be a secret.
func withoutValues(err error) string {
	bad, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return err.Error() // a syntax error, which only names a line
	}
	var lines []string
	for _, e := range bad.Errors {
		line, rest, _ := strings.Cut(e, ": ")
		if field, _, ok := strings.Cut(strings.TrimPrefix(rest, "field "), " not found in type"); ok && strings.HasPrefix(rest, "field ") {
			lines = append(lines, fmt.Sprintf("%s: there is no key %q", line, field))
			continue
		}
		if strings.Contains(rest, "already defined") {
			lines = append(lines, line+": the same key appears twice")
			continue
		}
		lines = append(lines, line+": the value has the wrong type")
	}
	return strings.Join(lines, ", ")
}

// Update changes the contexts under a lock, so that two commands at the same time do not overwrite each other's changes.
func (s Store) Update(change func(*Config) error) error {
	if err := privateDir(s.Dir); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(s.Dir, "config.lock")).Lock()
	if err != nil {
		return fmt.Errorf("lock the contexts: %w", err)
	}
	defer unlock()
	c, err := s.Load()
	if err != nil {
		return err
	}
	if c.Contexts == nil {
		c.Contexts = map[string]Context{}
	}
	if err := change(&c); err != nil {
		return err
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return err
	}
	return replace(s.File(), out.Bytes())
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// CheckName checks the name of a context. It is also the name of a file in the cache.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%q cannot be the name of a context: use at most 63 letters, digits, dots, dashes and underscores, and begin with a letter or a digit", name)
	}
	return nil
}

func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	return raw, err
}

// privateDir creates a directory that only its owner can read. It also removes the permissions of others from an existing one.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// replace writes a file completely or not at all.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
