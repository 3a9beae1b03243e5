// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// settings runs a command with two settings and returns their values.
func settings(t *testing.T, file string, env map[string]string, args ...string) (listen, monitors string, err error) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	cmd := &cobra.Command{
		Use: "x", SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return settle(cmd) },
	}
	cmd.Flags().String("config", "", "")
	cmd.Flags().StringVar(&listen, "listen", "default", "")
	list := cmd.Flags().StringSlice("ceph-monitors", nil, "")
	if file != "" {
		name := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	cmd.SetArgs(args)
	err = cmd.Execute()
	return listen, strings.Join(*list, " "), err
}

func TestAFlagTakesPrecedenceOverTheEnvironmentAndTheFile(t *testing.T) {
	file := "listen: file\nceph-monitors: [a:1, b:2]\n"
	env := map[string]string{"HUSKD_LISTEN": "environment"}
	for _, c := range []struct {
		name, file     string
		env            map[string]string
		args           []string
		listen, others string
	}{
		{name: "nothing given", listen: "default"},
		{name: "the file", file: file, listen: "file", others: "a:1 b:2"},
		{name: "the environment over the file", file: file, env: env, listen: "environment", others: "a:1 b:2"},
		{name: "the flag over the environment and the file", file: file, env: env, args: []string{"--listen", "flag"}, listen: "flag", others: "a:1 b:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			listen, others, err := settings(t, c.file, c.env, c.args...)
			if err != nil || listen != c.listen || others != c.others {
				t.Errorf("got %q and %q (%v), want %q and %q", listen, others, err, c.listen, c.others)
			}
		})
	}
}

func TestAnUnknownSettingIsAnError(t *testing.T) {
	_, _, err := settings(t, "listne: typo\n", nil)
	if err == nil || !strings.Contains(err.Error(), `"listne"`) {
		t.Errorf("got %v; want an error that names the setting", err)
	}
}

func TestAGeneratedSecretIsStored(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secret")
	for _, fallback := range []string{"first", "second"} {
		if got, err := keptFile(name, fallback); err != nil || got != "first" {
			t.Errorf("got %q (%v), want the first", got, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
	}
}

func TestANegativeNumberOfMovesIsAnError(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := root()
	cmd.SetArgs([]string{
		"server", "--moves-for-waiting-pod", "-1", "--database-url", "postgres://127.0.0.1:1/none", "--master-key-file", key, "--ceph-keyring", "none", "--ceph-monitors", "127.0.0.1:1",
		"--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0",
	})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "--moves-for-waiting-pod: -1 is negative") {
		t.Errorf("got %v; want an error that names the flag", err)
	}
}
