package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/openapi"
)

var imageView = view[openapi.Image]{
	kind: "image",
	name: func(i openapi.Image) string { return i.Reference },
	columns: []column[openapi.Image]{
		{"REFERENCE", false, func(i openapi.Image) string { return i.Reference }},
		{"STATE", false, func(i openapi.Image) string { return string(i.State) }},
		{"SIZE", false, func(i openapi.Image) string {
			if i.SizeBytes == nil {
				return ""
			}
			return fmt.Sprintf("%.1fMi", float64(*i.SizeBytes)/(1<<20))
		}},
		{"AGE", false, func(i openapi.Image) string { return age(i.CreatedAt) }},
		{"DIGEST", true, func(i openapi.Image) string { return i.Digest }},
		{"ID", true, func(i openapi.Image) string { return i.ID.String() }},
		{"MESSAGE", true, func(i openapi.Image) string { return value(i.Message) }},
	},
}

func imagesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "List imported images", Args: cobra.NoArgs}
	output := outputFlag(cmd, "table")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		images, err := listImages(cmd.Context(), c, nil)
		if err != nil {
			return err
		}
		return imageView.show(cmd.OutOrStdout(), format, images)
	}
	return cmd
}

func imageCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Import images"}
	load := &cobra.Command{
		Use:   "import REFERENCE",
		Short: "Import an image from a registry",
		Example: `  husk image import registry.example.com/nginx:1.22 --wait
  husk image import registry.example.com/private:1 --username me --password-stdin < password`,
		Args: cobra.ExactArgs(1),
	}
	fs := load.Flags()
	username := fs.String("username", "", "user at the registry")
	passwordStdin := fs.Bool("password-stdin", false, "read the password from standard input")
	doWait := fs.Bool("wait", false, "wait until the image is ready")
	timeout := fs.Duration("timeout", 10*time.Minute, "how long to wait")
	output := outputFlag(load, "text")
	load.RunE = func(cmd *cobra.Command, args []string) error {
		format, err := output()
		if err != nil {
			return err
		}
		order := openapi.ImageImport{Reference: args[0]}
		if order.RegistryAuth, err = registryAuth(*username, *passwordStdin, cmd.InOrStdin()); err != nil {
			return err
		}
		c, err := connect()
		if err != nil {
			return err
		}
		image, err := importImage(cmd.Context(), c, order)
		if err != nil {
			return err
		}
		if *doWait {
			if image, err = waitImage(cmd.Context(), c, image, *timeout, cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		if format == "text" {
			fmt.Fprintf(cmd.OutOrStdout(), "image %s is %s\n", image.Reference, image.State)
			return nil
		}
		return imageView.one(cmd.OutOrStdout(), format, image)
	}
	cmd.AddCommand(load)
	return group(cmd)
}

func registryAuth(username string, stdin bool, in io.Reader) (*openapi.RegistryAuth, error) {
	switch {
	case username == "" && !stdin:
		return nil, nil //nolint:nilnil // no login is what was asked for
	case username == "" || !stdin:
		return nil, usagef("--username and --password-stdin belong together")
	}
	password, err := io.ReadAll(io.LimitReader(in, 8192))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return &openapi.RegistryAuth{Username: username, Password: strings.TrimRight(string(password), "\r\n")}, nil
}

func importImage(ctx context.Context, c *openapi.Client, order openapi.ImageImport) (openapi.Image, error) {
	return answer[openapi.Image](c.ImportImage(ctx, &openapi.ImportImageParams{IdempotencyKey: newKey()}, order))
}

// waitImage waits until an image is ready, and fails with the reason when its import does.
func waitImage(ctx context.Context, c *openapi.Client, image openapi.Image, timeout time.Duration, progress io.Writer) (openapi.Image, error) {
	what := "image " + image.Reference
	err := until(ctx, timeout, what, progress, func() (bool, string, error) {
		var err error
		if image, err = answer[openapi.Image](c.GetImage(ctx, image.ID)); err != nil {
			return false, "", err
		}
		if image.State == openapi.ImageStateFailed {
			return false, "", errors.New(what + " cannot be imported: " + value(image.Message))
		}
		return image.State == openapi.ImageStateReady, state(string(image.State), image.Message), nil
	})
	return image, err
}
