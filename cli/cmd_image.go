// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/print"
	"husk/client"
	"husk/openapi"
)

func imagesCommand(a *app) *cobra.Command {
	cmd := listCommand(a, kind.Images)
	cmd.AddCommand(importCommand(a), deleteKind(a, "image"))
	return cmd
}

func importCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "import REFERENCE",
		Aliases: []string{"pull"},
		Short:   "Import an image from a registry",
		Example: `  husk image import registry.example.com/nginx:1.22 --wait
  husk image import registry.example.com/private:1 --username me --password-stdin < password
  husk image import registry.example.com/private:1 --registry-secret logins`,
		Args: cobra.ExactArgs(1),
	}
	fs := cmd.Flags()
	username := fs.String("username", "", "user name at the registry")
	passwordStdin := fs.Bool("password-stdin", false, "read the password from standard input")
	secrets := fs.StringArray("registry-secret", nil, "use the logins in this secret, which has the content of ~/.docker/config.json; may be repeated")
	doWait := fs.Bool("wait", false, "wait until the image is ready")
	timeout := fs.Duration("timeout", 10*time.Minute, "maximum time to wait for the image")
	output := a.outputFlags(cmd, "text")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := output()
		if err != nil {
			return err
		}
		request := openapi.ImageImport{Reference: args[0]}
		request.RegistrySecrets = listed(*secrets)
		if request.RegistryAuth, err = registryAuth(*username, *passwordStdin, a.in); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		image, err := c.Images.Import(cmd.Context(), request)
		if err != nil {
			return err
		}
		if *doWait {
			if image, err = a.waitImage(cmd.Context(), c, image, *timeout); err != nil {
				return err
			}
		}
		return kind.Images.Done(p, image, strings.ToLower(string(image.State)))
	}
	return cmd
}

func registryAuth(username string, stdin bool, in io.Reader) (*openapi.RegistryAuth, error) {
	switch {
	case username == "" && !stdin:
		return nil, nil //nolint:nilnil // without credentials
	case username == "" || !stdin:
		return nil, exit.Usagef("--username requires --password-stdin, and --password-stdin requires --username")
	}
	password, err := io.ReadAll(io.LimitReader(in, 8192))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return &openapi.RegistryAuth{Username: username, Password: strings.TrimRight(string(password), "\r\n")}, nil
}

// waitImage waits until an image is ready. It returns the reason if the import fails.
func (a *app) waitImage(ctx context.Context, c *client.Client, image openapi.Image, timeout time.Duration) (openapi.Image, error) {
	what, step := "image "+image.Reference, int64(kind.CoarseStep)
	if a.progress().Live() {
		step = 1
	}
	err := a.until(ctx, timeout, what, func() (bool, string, error) {
		var err error
		if image, err = c.Images.Get(ctx, image.ID); err != nil {
			return false, "", err
		}
		if image.State == openapi.ImageStateFailed {
			return false, "", errors.New(what + " cannot be imported: " + openapi.Value(image.Message))
		}
		return image.State == openapi.ImageStateReady, print.State(string(image.State), kind.ImageMessage(image, step)), nil
	})
	return image, err
}

func listed(names []string) *[]openapi.Name {
	if len(names) == 0 {
		return nil
	}
	return &names
}

// haveImage imports an image that has not been imported yet, with the logins in secrets, and waits until it is ready.
func (a *app) haveImage(ctx context.Context, c *client.Client, image string, secrets []string, timeout time.Duration) error {
	known, err := c.Images.Find(ctx, image)
	_, isID := client.ParseID(image)
	switch {
	case client.IsNotFound(err) && !isID, err == nil && known.State == openapi.ImageStateFailed:
		if err == nil {
			image = known.Reference
		}
		if known, err = c.Images.Import(ctx, openapi.ImageImport{Reference: image, RegistrySecrets: listed(secrets)}); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	_, err = a.waitImage(ctx, c, known, timeout)
	return err
}
