// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// settle sets the flags that the command line does not have: from the environment, or else from the
// configuration file. An unknown key in the file is an error.
func settle(cmd *cobra.Command) error {
	values := map[string]any{}
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if file == "" {
		file = os.Getenv("HUSKD_CONFIG")
	}
	if file != "" {
		raw, err := os.ReadFile(file) //nolint:gosec // the operator sets the path
		if err != nil {
			return fmt.Errorf("read the configuration: %w", err)
		}
		if err := yaml.Unmarshal(raw, &values); err != nil {
			return fmt.Errorf("configuration %s: %w", file, err)
		}
	}
	var failures []error
	for key := range values {
		if f := cmd.Flags().Lookup(key); f == nil || key == "config" || key == "help" {
			failures = append(failures, fmt.Errorf("configuration %s: unknown setting %q", file, key))
		}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "config" || f.Name == "help" {
			return
		}
		env := "HUSKD_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := os.LookupEnv(env); ok {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				failures = append(failures, fmt.Errorf("environment %s: %w", env, err))
			}
			return
		}
		if v, ok := values[f.Name]; ok {
			if err := cmd.Flags().Set(f.Name, yamlText(v)); err != nil {
				failures = append(failures, fmt.Errorf("configuration %s: %s: %w", file, f.Name, err))
			}
		}
	})
	return errors.Join(failures...)
}

// yamlText converts a value of the file to the text that a flag accepts.
func yamlText(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		texts = append(texts, fmt.Sprint(item))
	}
	return strings.Join(texts, ",")
}

// required returns an error with the names of the flags that are empty.
func required(cmd *cobra.Command, names ...string) error {
	var missing []string
	for _, n := range names {
		if f := cmd.Flags().Lookup(n); f.Value.String() == "" || f.Value.String() == "[]" {
			missing = append(missing, "--"+n)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("required but not set: %s", strings.Join(missing, ", "))
	}
	return nil
}

// readSecret reads a file that contains one secret, and removes white space around it.
func readSecret(file string) (string, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the operator sets the path
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
