// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"husk/server/auth"
	"husk/store"
)

// The files of a certificate for OVN's central part.
const (
	centralKey         = "key.pem"
	centralCertificate = "certificate.pem"
	centralAuthority   = "authority.pem"
)

type centralFlags struct {
	databaseURL, masterKeyFile, dir string
	life                            time.Duration
}

// centralCertificateCommand issues the certificate with which nodes recognize the southbound database.
func centralCertificateCommand() *cobra.Command {
	var f centralFlags
	cmd := &cobra.Command{
		Use:   "central-certificate",
		Short: "Issue the certificate of OVN's southbound database",
		Long: `Issue the certificate of OVN's southbound database, by the installation's own authority. Nodes connect to the database with their own
certificates, and the database presents one of the same authority. The files ` + centralKey + `, ` + centralCertificate + ` and ` + centralAuthority + ` are for the options --private-key,
--certificate and --ca-cert of OVN's programs, or for "ovn-sbctl set-ssl". The programs notice new files by themselves.

The northbound database has no roles: who connects to it can change every network. So it must not trust this authority, which issues the
certificates of nodes, too. Let it listen where only servers reach it, or give it an authority of its own. The same is true for the ports of
the southbound database that have no role.

Run this again before the certificate expires, for example each month.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "database-url", "master-key-file", "dir"); err != nil {
				return err
			}
			return issueCentral(cmd.Context(), f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.databaseURL, "database-url", "", "URL of Postgres, as for the server")
	fs.StringVar(&f.masterKeyFile, "master-key-file", "", "file with the key that protects the secrets in the database, as for the server")
	fs.StringVar(&f.dir, "dir", "", "directory to which the files are written")
	fs.DurationVar(&f.life, "life", 90*24*time.Hour, "validity of the certificate")
	return cmd
}

func issueCentral(ctx context.Context, f centralFlags) error {
	masters, err := masterKeys(f.masterKeyFile)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{URL: f.databaseURL, MasterKeys: masters, PodRange: netip.MustParsePrefix(defaultPodRange), NetworkPrefix: 22})
	if err != nil {
		return err
	}
	defer st.Close()
	pair, root, err := auth.IssueCentral(ctx, st.Control(), f.life)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	// The programs read key and certificate only when both are new.
	return errors.Join(replaceFile(f.dir, centralAuthority, root.PEM()), replaceFile(f.dir, centralKey, pair.Key), replaceFile(f.dir, centralCertificate, pair.Certificate))
}

func replaceFile(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

// secureSouthbound makes the southbound database accept only nodes with a certificate of the installation, as soon as a server has made its
// authority.
func (in installation) secureSouthbound(ctx context.Context) error {
	dir := filepath.Join(in.stack.StateDir(), "ovn", "tls")
	err := issueCentral(ctx, centralFlags{databaseURL: in.stack.PostgresURL("husk_owner"), masterKeyFile: in.secrets.masterKeyFile, dir: dir, life: 365 * 24 * time.Hour})
	if err != nil {
		return fmt.Errorf("certificate of OVN's southbound database: %w", err)
	}
	return in.stack.SecureSouthbound(ctx, filepath.Join(dir, centralKey), filepath.Join(dir, centralCertificate), filepath.Join(dir, centralAuthority))
}
