// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"husk/server/auth"
	"husk/store"
)

// The files of the certificates for OVN's central part.
const (
	centralKey            = "key.pem"
	centralCertificate    = "certificate.pem"
	centralAuthority      = "authority.pem"
	northboundKey         = "northbound-key.pem"
	northboundCertificate = "northbound-certificate.pem"
	northboundAuthority   = "northbound-authority.pem"
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
		Short: "Issue the certificates of OVN's databases",
		Long: `Issue the certificates of OVN's databases. The files are for the options --private-key, --certificate and --ca-cert of OVN's programs, or for
the command set-ssl of ovn-nbctl and ovn-sbctl. The programs notice new files by themselves.

The southbound database uses ` + centralKey + `, ` + centralCertificate + ` and ` + centralAuthority + `. Nodes connect with their own certificates, of the same authority. Give them
the role ovn-controller in set-connection, and let nodes not reach ports without a role, such as that for ovn-northd.

The northbound database uses ` + northboundKey + `, ` + northboundCertificate + ` and ` + northboundAuthority + `. It has no roles, so its authority is another one, of which
only servers have certificates.

ovn-northd uses ` + northboundKey + `, ` + northboundCertificate + ` and ` + centralAuthority + `, which contains both authorities.

Run this again before the certificates expire, for example each month.`,
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
	issued, err := auth.IssueCentral(ctx, st.Control(), f.life)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	// The programs read key and certificate only when both are new.
	for _, file := range [][2]string{
		{centralAuthority, issued.SouthboundAuthority.PEM() + issued.NorthboundAuthority.PEM()},
		{northboundAuthority, issued.NorthboundAuthority.PEM()},
		{centralKey, issued.Southbound.Key},
		{centralCertificate, issued.Southbound.Certificate},
		{northboundKey, issued.Northbound.Key},
		{northboundCertificate, issued.Northbound.Certificate},
	} {
		if err := replaceFile(f.dir, file[0], file[1]); err != nil {
			return err
		}
	}
	return nil
}

func replaceFile(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

// secureSouthbound makes OVN's databases accept only those with a certificate of the installation, as soon as a server has made its authority.
func (in installation) secureSouthbound(ctx context.Context) error {
	dir := in.stack.OVNTLS()
	err := issueCentral(ctx, centralFlags{databaseURL: in.stack.PostgresURL("husk_owner"), masterKeyFile: in.secrets.masterKeyFile, dir: dir, life: 365 * 24 * time.Hour})
	if err != nil {
		return fmt.Errorf("certificates of OVN's databases: %w", err)
	}
	return in.stack.SecureOVN(ctx)
}
