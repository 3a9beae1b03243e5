// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/base64"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/parse"
	"husk/openapi"
)

func configsCommand(a *app, k kind.Kind[openapi.Config], which openapi.ConfigKind) *cobra.Command {
	cmd := listCommand(a, k)
	cmd.AddCommand(createConfigCommand(a, k, which), setConfigCommand(a, k), deleteKind(a, k.Kind))
	if which == openapi.ConfigKindConfig {
		cmd.AddCommand(getConfigCommand(a, k))
	}
	return cmd
}

func createConfigCommand(a *app, k kind.Kind[openapi.Config], which openapi.ConfigKind) *cobra.Command {
	noun := k.Kind
	cmd := &cobra.Command{
		Use:   "create NAME [KEY=VALUE…]",
		Short: "Create a " + noun,
		Example: "  husk " + noun + " create web LOG_LEVEL=info --from-file app.conf\n" +
			"  husk " + noun + " create db --from-file password=- < password.txt",
		Args: cobra.MinimumNArgs(1),
	}
	var flags parse.ValueFlags
	flags.Add(cmd.Flags())
	labels := cmd.Flags().StringArray("label", nil, "add a label, NAME=VALUE; may be repeated")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		text, binary, err := flags.Values(args[1:], cmd.InOrStdin())
		if err != nil {
			return err
		}
		config := openapi.ConfigCreate{Kind: which, Name: args[0], Values: &text, BinaryValues: &binary}
		if config.Labels, err = parse.Labels(*labels); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		created, err := c.Configs.Create(cmd.Context(), config)
		if err != nil {
			return err
		}
		return k.Done(p, created, "created")
	}
	return cmd
}

func setConfigCommand(a *app, k kind.Kind[openapi.Config]) *cobra.Command {
	noun := k.Kind
	cmd := &cobra.Command{
		Use:   "set NAME [KEY=VALUE…]",
		Short: "Change values of a " + noun,
		Long: "Change values of a " + noun + ". Other keys keep their values.\n\n" +
			"Files in running pods change within seconds. Variables change when a container\nis started again.",
		Example: "  husk " + noun + " set web LOG_LEVEL=debug --unset OLD",
		Args:    cobra.MinimumNArgs(1),
	}
	var flags parse.ValueFlags
	flags.Add(cmd.Flags())
	unset := cmd.Flags().StringArray("unset", nil, "remove a key; may be repeated")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		text, binary, err := flags.Values(args[1:], cmd.InOrStdin())
		if err != nil {
			return err
		}
		for _, key := range *unset {
			text[key] = nil
		}
		if len(text)+len(binary) == 0 {
			return exit.Usagef("no values given; add KEY=VALUE, --from-file, --from-env-file or --unset")
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		found, err := k.Find(cmd.Context(), c, kind.Bare(noun, args[0]))
		if err != nil {
			return err
		}
		changed, err := c.Configs.Update(cmd.Context(), found.ID, openapi.ConfigUpdate{Values: &text, BinaryValues: &binary}, false)
		if err != nil {
			return err
		}
		return k.Done(p, changed, "changed")
	}
	return cmd
}

func getConfigCommand(a *app, k kind.Kind[openapi.Config]) *cobra.Command {
	return &cobra.Command{
		Use:     "get NAME KEY",
		Short:   "Print a value of a config, exactly as it is",
		Example: "  husk config get web app.conf",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect()
			if err != nil {
				return err
			}
			found, err := k.Find(cmd.Context(), c, kind.Bare("config", args[0]))
			if err != nil {
				return err
			}
			if value, ok := openapi.Value(found.Values)[args[1]]; ok {
				_, err := io.WriteString(cmd.OutOrStdout(), openapi.Value(value))
				return err
			}
			if value, ok := openapi.Value(found.BinaryValues)[args[1]]; ok {
				raw, err := base64.StdEncoding.DecodeString(openapi.Value(value))
				if err == nil {
					_, err = cmd.OutOrStdout().Write(raw)
				}
				return err
			}
			return fmt.Errorf("config/%s has no key %q", found.Name, args[1])
		},
	}
}
