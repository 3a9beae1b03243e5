// SPDX-License-Identifier: Apache-2.0

// Package connect finds out which Husk installation a command is for, and with which identity, and makes a client for it.
//
// The target comes from --context, the environment, or the contexts of package config. Tokens are cached between calls of the command.
package connect

import (
	"os"
	"strings"
	"time"

	"husk/cli/config"
	"husk/cli/exit"
	"husk/client"
)

// Target is an installation and an identity.
type Target struct {
	Name    string // of the context; empty if the environment has everything
	Context config.Context
	store   config.Store
}

// Environment are the variables that together replace a context.
var Environment = []string{"HUSK_API", "HUSK_CLIENT_ID", "HUSK_CLIENT_SECRET"}

// Find returns the target. The first of these that is given determines it: --context, the environment, HUSK_CONTEXT, the current context.
func Find(context string) (Target, error) {
	if context == "" {
		if t, given, err := fromEnvironment(); given || err != nil {
			return t, err
		}
	}
	store, c, err := Contexts()
	if err != nil {
		return Target{}, err
	}
	name := Current(context, c)
	if name == "" {
		return Target{}, &client.LoginError{Detail: "there is no context and HUSK_API is not set; to create a context, run \"husk login URL\""}
	}
	found, ok := c.Contexts[name]
	if !ok {
		return Target{}, client.NotFound("context", name)
	}
	t := Target{name, found, store}
	if _, cached := store.Token(name, t.fingerprint(), time.Now()); !found.LoggedIn() && !cached { // an issuer may give no refresh token
		return Target{}, &client.LoginError{Detail: "context " + name + " is logged out; to log in again, run \"husk login --context " + name + "\""}
	}
	t.Context.API, err = CheckURL("api of context "+name, found.API)
	return t, err
}

// Contexts reads the contexts.
func Contexts() (config.Store, config.Config, error) {
	store, err := config.Default()
	if err != nil {
		return store, config.Config{}, exit.UsageError{Err: err}
	}
	c, err := store.Load()
	if err != nil {
		return store, c, exit.UsageError{Err: err}
	}
	return store, c, nil
}

// Current returns the name of the context that applies if the environment has no other target. It may be empty.
func Current(context string, c config.Config) string {
	for _, name := range []string{context, os.Getenv("HUSK_CONTEXT")} {
		if name != "" {
			return name
		}
	}
	return c.CurrentContext
}

// fromEnvironment returns the target of the environment. It is an error if only some of the variables are set.
func fromEnvironment() (t Target, given bool, err error) {
	values := map[string]string{}
	for _, name := range Environment {
		if v := os.Getenv(name); v != "" {
			values[name] = v
		}
	}
	if len(values) == 0 {
		return Target{}, false, nil
	}
	for _, name := range Environment {
		if values[name] == "" {
			return Target{}, true, exit.Usagef("%s is not set, but at least one of %s is; set all or none", name, strings.Join(Environment, ", "))
		}
	}
	api, err := CheckURL("HUSK_API", values["HUSK_API"])
	if err != nil {
		return Target{}, true, err
	}
	key := config.APIKey{ClientID: values["HUSK_CLIENT_ID"], ClientSecret: values["HUSK_CLIENT_SECRET"]}
	return Target{Context: config.Context{API: api, APIKey: &key}}, true, nil
}

// CheckURL checks the URL of an API. Its first argument says where the URL comes from, for the error.
func CheckURL(what, text string) (string, error) {
	api, err := client.CheckURL(text)
	if err != nil {
		return "", exit.Usagef("%s: %w", what, err)
	}
	return api, nil
}

// Client makes a client. It calls nothing yet; the first call gets a token.
func (t Target) Client() (*client.Client, error) {
	anonymous, err := client.New(t.Context.API, client.WithProgram("husk"))
	if err != nil {
		return nil, err
	}
	return client.New(t.Context.API, client.WithProgram("husk"), client.WithTokenSource(&tokens{target: t, api: anonymous, now: time.Now}))
}
