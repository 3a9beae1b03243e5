// SPDX-License-Identifier: Apache-2.0

// Command push builds the test images and pushes them to a registry:
//
//	go run ./test/images/push -registry 127.0.0.1:5000
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"husk/test/images"
)

func main() {
	userCache, err := os.UserCacheDir()
	if err != nil {
		userCache = os.TempDir()
	}
	registry := flag.String("registry", "127.0.0.1:5000", "`host:port` to push to")
	cache := flag.String("cache", filepath.Join(userCache, "husk-images"), "`directory` for packages and layers")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: push [flags] [image ...]\n\nimages: %v (all)\n", images.Names())
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *registry, *cache, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, registry, cache string, names []string) error {
	built, err := images.Build(ctx, cache, names...)
	if err != nil {
		return err
	}
	refs, err := images.Push(ctx, registry, built)
	for _, n := range images.Names() {
		if refs[n] != "" {
			fmt.Println(refs[n])
		}
	}
	return err
}
