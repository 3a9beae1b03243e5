package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
		{"STATE", false, func(i openapi.Image) string {
			if p, known := fetchedPercent(i); known {
				return fmt.Sprintf("%s %d%%", i.State, p)
			}
			return string(i.State)
		}},
		{"SIZE", false, func(i openapi.Image) string {
			if i.SizeBytes == nil {
				return ""
			}
			return mebibytes(*i.SizeBytes)
		}},
		{"AGE", false, func(i openapi.Image) string { return age(i.CreatedAt) }},
		{"DIGEST", true, func(i openapi.Image) string { return i.Digest }},
		{"ID", true, func(i openapi.Image) string { return i.ID.String() }},
		{"MESSAGE", true, func(i openapi.Image) string { return value(i.Message) }},
	},
}

var images = resource[openapi.Image]{
	view: imageView, plural: "images", aliases: []string{"image", "img"}, short: "List imported images, or watch them",
	id:     func(i openapi.Image) string { return i.ID.String() },
	find:   findImage,
	ifNone: "husk image import REFERENCE imports one",
	list: func(ctx context.Context, c *openapi.Client, _ query) ([]openapi.Image, error) {
		return listImages(ctx, c, nil)
	},
	watch: func(ctx context.Context, c *openapi.Client, _ query) (*http.Response, error) {
		yes := true
		return c.ListImages(ctx, &openapi.ListImagesParams{Watch: &yes})
	},
}

func listImages(ctx context.Context, c *openapi.Client, reference *string) ([]openapi.Image, error) {
	return collect(func(cursor *openapi.Cursor) (*http.Response, error) {
		return c.ListImages(ctx, &openapi.ListImagesParams{Limit: &pageSize, Cursor: cursor, Reference: reference})
	}, func(l openapi.ImageList) ([]openapi.Image, *string) { return l.Items, l.NextCursor })
}

func imagesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, images)
	cmd.AddCommand(importCommand(a), deleteKind(a, "image"))
	return cmd
}

func importCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import REFERENCE",
		Aliases: []string{"pull"},
		Short:   "Import an image from a registry",
		Example: `  husk image import registry.example.com/nginx:1.22 --wait
  husk image import registry.example.com/private:1 --username me --password-stdin < password`,
		Args: cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	username := fs.String("username", "", "user at the registry")
	passwordStdin := fs.Bool("password-stdin", false, "read the password from standard input")
	doWait := fs.Bool("wait", false, "wait until the image is ready")
	timeout := fs.Duration("timeout", 10*time.Minute, "how long to wait")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		order := openapi.ImageImport{Reference: args[0]}
		if order.RegistryAuth, err = registryAuth(*username, *passwordStdin, a.in); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		image, err := importImage(cmd.Context(), c, order)
		if err != nil {
			return err
		}
		if *doWait {
			if image, err = a.waitImage(cmd.Context(), c, image, *timeout); err != nil {
				return err
			}
		}
		return imageView.done(p, image, strings.ToLower(string(image.State)))
	}
	return cmd
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

// fetchedPercent is how much of an image has come from its registry, rounded down, if somebody is fetching it.
func fetchedPercent(i openapi.Image) (int64, bool) {
	if i.Progress == nil || i.Progress.TotalBytes <= 0 {
		return 0, false
	}
	return i.Progress.FetchedBytes * 100 / i.Progress.TotalBytes, true
}

// imageMessage says why an image is not further, and how far it is, in so many percent at a time.
func imageMessage(i openapi.Image, step int64) *string {
	p, known := fetchedPercent(i)
	if !known {
		return i.Message
	}
	fetched := fmt.Sprintf("%d%% of %s fetched", p/step*step, mebibytes(i.Progress.TotalBytes))
	if m := value(i.Message); m != "" { // of the try before
		fetched = m + "; " + fetched
	}
	return &fetched
}

const coarseStep = 10 // percent: where each change is a line of its own, a hundred lines are too many

// waitImage waits until an image is ready, and fails with the reason when its import does.
func (a *app) waitImage(ctx context.Context, c *openapi.Client, image openapi.Image, timeout time.Duration) (openapi.Image, error) {
	what, step := "image "+image.Reference, int64(coarseStep)
	if a.progress().live {
		step = 1
	}
	err := a.until(ctx, timeout, what, func() (bool, string, error) {
		var err error
		if image, err = answer[openapi.Image](c.GetImage(ctx, image.ID)); err != nil {
			return false, "", err
		}
		if image.State == openapi.ImageStateFailed {
			return false, "", errors.New(what + " cannot be imported: " + value(image.Message))
		}
		return image.State == openapi.ImageStateReady, state(string(image.State), imageMessage(image, step)), nil
	})
	return image, err
}
