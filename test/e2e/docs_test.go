package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/test/docs"
)

// Every command block of README and docs works as printed, here with the credentials of this stack in place of those of `make up`.
func TestTheDocumentationWorksAsPrinted(t *testing.T) {
	s := theStack(t)
	demo := &tenant{stack: s, api: s.client(s.env["HUSK_CLIENT_ID"], s.env["HUSK_CLIENT_SECRET"])}
	t.Cleanup(func() { demo.removeImages(t) })
	files := []string{filepath.Join(repository(), "README.md"), filepath.Join(repository(), "CONTRIBUTING.md")}
	more, err := filepath.Glob(filepath.Join(repository(), "docs", "*.md"))
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
				script := strings.ReplaceAll(block, "build/dev.env", filepath.Join(s.dir, "dev.env"))
				cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script) //nolint:gosec // our own documentation
				cmd.Dir = repository()
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

// removeImages removes the tenant's images, which the documentation leaves.
func (tn *tenant) removeImages(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own has ended
	defer cancel()
	err := until(ctx, func() error {
		images, err := tn.api.ListImagesWithResponse(ctx, nil)
		if err != nil {
			return err
		}
		for _, i := range images.JSON200.Items {
			if _, err := tn.api.DeleteImageWithResponse(ctx, i.ID, nil); err != nil {
				return err
			}
		}
		if n := len(images.JSON200.Items); n > 0 {
			return fmt.Errorf("%d images are left", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
