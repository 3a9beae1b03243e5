// SPDX-License-Identifier: Apache-2.0

package operators

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

// SigningKeys are the keys that sign tokens.
var SigningKeys = kind.Kind[openapi.SigningKey]{
	View: print.View[openapi.SigningKey]{
		Kind: "signing-key",
		Name: func(k openapi.SigningKey) string { return k.Kid },
		Columns: []print.Column[openapi.SigningKey]{
			print.Col("ID", func(k openapi.SigningKey) string { return k.Kid }),
			print.Col("STATE", func(k openapi.SigningKey) string { return string(k.State) }),
			print.Col("AGE", func(k openapi.SigningKey) string { return print.Age(k.CreatedAt) }),
		},
	},
	Plural: "signing-keys", Aliases: []string{"signing-key"}, Short: "List the keys that sign tokens, and create and delete keys",
	ID: func(k openapi.SigningKey) string { return k.Kid },
	Find: func(ctx context.Context, c *client.Client, name string) (openapi.SigningKey, error) {
		return client.FindIn(client.Each(c.SigningKeys.List(ctx)), "signing key", name, func(k openapi.SigningKey) []string { return []string{k.Kid} })
	},
	List: func(ctx context.Context, c *client.Client, _ kind.Query) iter.Seq2[openapi.SigningKey, error] {
		return client.Each(c.SigningKeys.List(ctx))
	},
}

// RotateKey makes the command that creates a signing key.
func RotateKey(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Create a key that signs tokens from now on",
		Long: `Create a key that signs tokens, once every server has loaded it. Husk does this by
itself as well. An older key verifies the tokens that it has signed until the last
one has expired.`,
		Args: cobra.NoArgs,
	}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		made, err := c.SigningKeys.Rotate(cmd.Context())
		if err != nil {
			return err
		}
		return SigningKeys.Done(p, made, "created")
	}
	return cmd
}

// DeleteKey makes the command that deletes a signing key.
func DeleteKey(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Delete a signing key that has leaked",
		Long: `Delete a signing key that has leaked. Every token that it has signed is rejected
from then on, so everybody has to log in again. The key that signs tokens cannot be
deleted; create another one first with "husk signing-key rotate".`,
		Args: cobra.ExactArgs(1),
	}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, err := a.Connect()
		if err != nil {
			return err
		}
		key, err := SigningKeys.Find(cmd.Context(), c, kind.Bare("signing-key", args[0]))
		if err != nil {
			return err
		}
		if err := c.SigningKeys.Delete(cmd.Context(), key.Kid); err != nil {
			return err
		}
		return SigningKeys.Done(p, key, "deleted")
	}
	return cmd
}

// certificates are those that the platform has issued to a node.
var certificates = print.View[openapi.NodeCertificate]{
	Kind: "certificate",
	Name: func(c openapi.NodeCertificate) string { return c.Serial },
	Columns: []print.Column[openapi.NodeCertificate]{
		print.Col("SERIAL", func(c openapi.NodeCertificate) string { return c.Serial }),
		print.Col("ISSUED", func(c openapi.NodeCertificate) string { return print.Time(&c.CreatedAt) }),
		print.Col("EXPIRES", func(c openapi.NodeCertificate) string { return print.Time(&c.ExpiresAt) }),
		print.Col("REVOKED", func(c openapi.NodeCertificate) string { return print.Time(c.RevokedAt) }),
	},
}

// Certificates makes the command that lists the certificates of a node.
func Certificates(a Parts) *cobra.Command {
	cmd := &cobra.Command{Use: "certificates NODE", Short: "List the certificates that were issued to a node", Args: cobra.ExactArgs(1)}
	output := a.Output(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, n, err := a.node(cmd, args[0])
		if err != nil {
			return err
		}
		all, err := c.Nodes.Certificates(cmd.Context(), n.ID)
		if err != nil {
			return err
		}
		return certificates.Show(p, all)
	}
	return cmd
}

// Revoke makes the command that revokes the certificates of a node.
func Revoke(a Parts) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke-certificates NODE",
		Short: "Revoke every certificate of a node, such as of one that was stolen",
		Long: `Revoke every certificate of a node. The server rejects its agent from then on, and
moves its pods as if the node were lost. To bring the node back, create a token for
it with "husk node join-token NODE".`,
		Args: cobra.ExactArgs(1),
	}
	output := a.Output(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		c, n, err := a.node(cmd, args[0])
		if err != nil {
			return err
		}
		if err := c.Nodes.RevokeCertificates(cmd.Context(), n.ID); err != nil {
			return err
		}
		return kind.Nodes.Done(p, n, "has no valid certificate any more")
	}
	return cmd
}

func (a Parts) node(cmd *cobra.Command, name string) (*client.Client, openapi.Node, error) {
	c, err := a.Connect()
	if err != nil {
		return nil, openapi.Node{}, err
	}
	n, err := c.Nodes.Find(cmd.Context(), kind.Bare("node", name))
	return c, n, err
}
