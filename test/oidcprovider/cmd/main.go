// SPDX-License-Identifier: Apache-2.0

// Command cmd runs the tests' OIDC provider in a separate process. It prints the issuer's URL on a
// line, and serves until it gets a signal or its standard input ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"husk/test/oidcprovider"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; it is also the address in the issuer's URL")
	flag.Parse()
	if err := run(*listen); err != nil {
		fmt.Fprintln(os.Stderr, "oidcprovider:", err)
		os.Exit(1)
	}
}

func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	p, err := oidcprovider.New("http://" + l.Addr().String())
	if err != nil {
		return err
	}
	fmt.Println(p.Issuer)
	go func() { // ends with the process
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // only the end matters, not the reason
		stop()
	}()
	return p.Serve(ctx, l)
}
