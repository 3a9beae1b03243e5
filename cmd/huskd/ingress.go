// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"husk/ingress/proxy"
	"husk/store"
	"husk/store/edge"
)

type ingressFlags struct {
	databaseURL, keyFile, http, https, metrics string
	publicPort, bodyMiB                        int
	internal                                   bool
	acme                                       proxy.ACME
	limits                                     proxy.Limits
}

func ingressCommand() *cobra.Command {
	var f ingressFlags
	cmd := &cobra.Command{
		Use:   "ingress",
		Short: "Serve the hosts of tenants' ingresses over HTTPS",
		Long: `Serve the hosts of tenants' ingresses over HTTPS, with HTTP/2 and HTTP/3. Several of these processes share their certificates through the database.

The machine must be connected to the provider network, with a route on the link to the range of the server's --ingress-range, and its address there must be one of the server's --ingress-nodes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "database-url", "key-file"); err != nil {
				return err
			}
			return runIngress(cmd, f)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.databaseURL, "database-url", "", "URL of Postgres, postgres://:PASSWORD@HOST:PORT/NAME, with the password of the role husk_ingress")
	fs.StringVar(&f.keyFile, "key-file", "", "file with 64 hexadecimal digits: the key that protects certificates' private keys in the database; the same for all ingress processes; previous keys may follow, one per line")
	fs.StringVar(&f.http, "listen-http", ":80", "address for plain HTTP: challenges of the certificate authority, and redirects to HTTPS")
	fs.StringVar(&f.https, "listen-https", ":443", "address for HTTPS, over TCP and over UDP (HTTP/3)")
	fs.IntVar(&f.publicPort, "public-https-port", 443, "port of HTTPS in redirects")
	fs.StringVar(&f.metrics, "listen-metrics", "", "address for metrics of this process, /metrics, such as 127.0.0.1:9180")
	fs.StringVar(&f.acme.Directory, "acme-directory", "", "directory URL of the certificate authority, such as https://acme-v02.api.letsencrypt.org/directory")
	fs.StringVar(&f.acme.RootsFile, "acme-ca", "", "file with the certificate of the authority's own server, unless the system trusts it")
	fs.StringVar(&f.acme.Email, "acme-email", "", "address for messages of the certificate authority")
	fs.BoolVar(&f.internal, "internal-authority", false, "issue certificates by an authority of this installation's own, which no browser trusts, for tests")
	fs.Float64Var(&f.acme.RenewalShare, "renewal-share", 1.0/3, "share of its life that a certificate has left when it is renewed")
	fs.IntVar(&f.acme.RecheckSeconds, "renewal-recheck-seconds", 60, "how soon a renewal is checked")
	most := proxy.DefaultLimits
	fs.IntVar(&f.limits.Requests, "tenant-requests", most.Requests, "requests to one tenant that can be under way, including WebSockets")
	fs.IntVar(&f.limits.RequestsPerSecond, "tenant-requests-per-second", most.RequestsPerSecond, "requests per second to one tenant; the burst is twice as large")
	fs.IntVar(&f.limits.RequestsPerAddress, "tenant-requests-per-address", most.RequestsPerAddress, "requests of one client address to one tenant that can be under way")
	fs.IntVar(&f.limits.ConnectionsPerAddress, "connections-per-address", most.ConnectionsPerAddress, "open TCP connections of one client address")
	fs.IntVar(&f.bodyMiB, "max-body-mib", int(most.BodyBytes>>20), "MiB that the body of one request can have")
	fs.IntVar(&f.limits.CertificatesPerHour, "tenant-certificates-per-hour", most.CertificatesPerHour, "new certificates for hosts of one tenant per hour, of all ingress processes together; renewals do not count")
	return cmd
}

func runIngress(cmd *cobra.Command, f ingressFlags) error {
	ctx := cmd.Context()
	log, err := logger(cmd, "ingress")
	if err != nil {
		return err
	}
	keys, err := masterKeys(f.keyFile)
	if err != nil {
		return err
	}
	l := f.limits
	switch u, err := url.Parse(f.acme.Directory); {
	case f.acme.Directory == "" && !f.internal:
		return errors.New("no certificate authority given: set --acme-directory, or --internal-authority for tests")
	case f.acme.Directory != "" && f.internal:
		return errors.New("--acme-directory and --internal-authority exclude each other; leave one out")
	case f.acme.Directory != "" && (err != nil || u.Scheme != "https" || u.Host == ""):
		return fmt.Errorf("--acme-directory: %q is not a URL that begins with https://", f.acme.Directory)
	case l.Requests < 1 || l.RequestsPerSecond < 1 || l.RequestsPerAddress < 1 || l.ConnectionsPerAddress < 1 || f.bodyMiB < 1 || l.CertificatesPerHour < 1:
		return errors.New("--tenant-requests, --tenant-requests-per-second, --tenant-requests-per-address, --connections-per-address, --max-body-mib and --tenant-certificates-per-hour must be at least 1")
	case f.acme.RenewalShare <= 0 || f.acme.RenewalShare >= 1 || f.acme.RecheckSeconds < 1:
		return fmt.Errorf("--renewal-share is %g; it must be between 0 and 1, and --renewal-recheck-seconds at least 1", f.acme.RenewalShare)
	case f.publicPort < 1 || f.publicPort > 65535:
		return fmt.Errorf("--public-https-port: %d is not a port", f.publicPort)
	}
	f.limits.BodyBytes = int64(f.bodyMiB) << 20
	st, err := edge.Open(ctx, edge.Config{URL: f.databaseURL, Role: store.RoleIngress, Keys: keys, Log: log})
	if err != nil {
		return err
	}
	defer st.Close()
	if f.metrics != "" {
		stop, err := serveIngressMetrics(f.metrics)
		if err != nil {
			return err
		}
		defer stop()
	}
	return proxy.Run(ctx, proxy.Config{Store: st, Log: log, HTTP: f.http, HTTPS: f.https, PublicPort: f.publicPort, ACME: f.acme, Limits: f.limits})
}

// serveIngressMetrics serves the metrics of this process until stop.
func serveIngressMetrics(address string) (stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen-metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", proxy.Metrics())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l) // ends with Close
	}()
	return func() { _ = s.Close(); <-ended }, nil
}
