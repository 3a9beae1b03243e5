// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/client"
	"husk/test/docs"
	"husk/test/pace"
	"husk/test/stack"
)

// Every command block in README and docs works as printed. This test uses the credentials of its
// own stack instead of those of `make up`.
func TestTheDocumentationWorksAsPrinted(t *testing.T) {
	t.Parallel()
	s := stack.Get(t)
	demo := &stack.Tenant{Stack: s, API: s.Client(s.Env["HUSK_CLIENT_ID"], s.Env["HUSK_CLIENT_SECRET"])}
	t.Cleanup(func() { removeImages(t, demo) })
	files := []string{filepath.Join(stack.Repository(), "README.md"), filepath.Join(stack.Repository(), "CONTRIBUTING.md")}
	more, err := filepath.Glob(filepath.Join(stack.Repository(), "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range append(files, more...) {
		blocks, err := docs.Blocks(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range blocks {
			ran++
			t.Run(fmt.Sprintf("%s block %d", filepath.Base(file), i+1), func(t *testing.T) {
				script := strings.ReplaceAll(block, "build/dev.env", filepath.Join(s.Dir, "dev.env"))
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script) //nolint:gosec // our own documentation
				cmd.Dir = stack.Repository()
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v:\n%s\nof\n%s", err, out, block)
				}
			})
		}
	}
	if ran < 2 {
		t.Errorf("%d blocks were run; the documentation should have more", ran)
	}
}

// removeImages removes the images that the documentation's commands have imported into the tenant.
func removeImages(t *testing.T, tn *stack.Tenant) {
	ctx, cancel := context.WithTimeout(context.Background(), pace.Limit(time.Minute)) // the context of the test has ended
	defer cancel()
	err := stack.Until(ctx, func() error {
		images, err := client.Collect(tn.API.Images.List(ctx))
		if err != nil {
			return err
		}
		for _, i := range images {
			if err := tn.API.Images.Delete(ctx, i.ID); err != nil && !client.IsNotFound(err) {
				return err
			}
		}
		if n := len(images); n > 0 {
			return fmt.Errorf("%d images still exist", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
