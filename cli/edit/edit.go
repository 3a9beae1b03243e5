// SPDX-License-Identifier: Apache-2.0

// Package edit compares existing objects with documents (husk diff), and lets a person change the document of one in an editor (husk edit). Package
// live reads the objects, and package apply makes the changes.
package edit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"husk"
	"husk/cli/exit"
	"husk/cli/kind"
	"husk/cli/live"
	"husk/cli/manifest"
	"husk/cli/print"
	"husk/client"
)

// Editing is one call of husk edit.
type Editing struct {
	Client    *client.Client
	In        io.Reader
	Out, Errs io.Writer
	// Apply makes the object what the document says.
	Apply func(ctx context.Context, d manifest.Document) error
}

// errNothing says that the text was not changed.
var errNothing = errors.New("nothing was changed")

// Run opens an editor with the document of an object, and applies what was changed. If it is wrong or refused, the editor opens again with the
// error, until the text is as it was or empty.
func (e Editing) Run(ctx context.Context, ref kind.Ref) error {
	have, err := live.Find(ctx, e.Client, ref)
	if err != nil {
		return err
	}
	if have.Image != nil {
		return exit.Usagef("%s: nothing of an image can be changed; to import it again, run \"husk image import\"", have.Ref())
	}
	original, err := live.Text(have.Document)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "husk-edit-")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, strings.ReplaceAll(have.Ref(), "/", "-")+".yaml")
	text, problem := original, error(nil)
	for {
		edited, err := e.open(ctx, file, have, text, problem)
		switch {
		case err != nil:
			return fmt.Errorf("%w; what you wrote is in %s", err, file)
		case strings.TrimSpace(edited) == "" || edited == original || problem != nil && !changedMeanwhile(problem) && edited == text:
			if problem == nil {
				fmt.Fprintln(e.Errs, "husk:", errNothing.Error())
				return os.RemoveAll(dir)
			}
			return fmt.Errorf("%w; what you wrote is in %s: %w", errNothing, file, problem)
		}
		text = edited
		if problem = e.apply(ctx, have, file, edited); problem == nil {
			return os.RemoveAll(dir)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w; what you wrote is in %s", problem, file)
		}
		if changedMeanwhile(problem) {
			if have, problem, err = e.again(ctx, ref, original); err != nil {
				return fmt.Errorf("%w; what you wrote is in %s", err, file)
			}
		}
	}
}

// conflictError says how somebody else has changed the object.
type conflictError struct{ changes string }

// Error implements error.
func (c conflictError) Error() string {
	return "somebody else has changed the object since. Save this file to apply it nevertheless, or empty it to change nothing. What was changed:\n" + c.changes
}

func changedMeanwhile(err error) bool {
	_, known := errors.AsType[conflictError](err)
	return known || client.HasCode(err, husk.CodePreconditionFailed)
}

// again reads the object again, after somebody else has changed it.
func (e Editing) again(ctx context.Context, ref kind.Ref, original string) (live.Object, error, error) { //nolint:revive // the first error is for the person
	have, err := live.Find(ctx, e.Client, kind.Ref{Kind: ref.Kind, Name: ref.Name})
	if err != nil {
		return have, nil, err
	}
	now, err := live.Text(have.Document)
	return have, conflictError{string(diff.Diff("before", []byte(original), "now", []byte(now)))}, err
}

// apply applies an edited text.
func (e Editing) apply(ctx context.Context, have live.Object, file, text string) error {
	docs, err := manifest.Parse(filepath.Base(file), []byte(text))
	switch {
	case err != nil:
		return exit.DocumentError{Err: err}
	case len(docs) != 1:
		return exit.Usagef("there are %d documents; husk edit changes one object", len(docs))
	case docs[0].Ref() != have.Ref():
		return exit.Usagef("the document is now about %s; kind and name cannot be edited", docs[0].Ref())
	}
	return e.Apply(client.IfMatch(ctx, have.ETag), docs[0])
}

// open lets a person edit a text, below comments, and returns it without them.
func (e Editing) open(ctx context.Context, file string, have live.Object, text string, problem error) (string, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# This is %s. Lines that begin with # are ignored.\n# If you change nothing, or empty this file, %s stays as it is.\n", have.Ref(), have.Ref())
	if have.Config != nil && have.Config.Values == nil {
		fmt.Fprintf(&b, "# A value that is %s stays as it is.\n", live.Hidden)
	}
	if problem != nil {
		b.WriteString("#\n")
		for line := range strings.Lines(strings.TrimRight(problem.Error(), "\n") + "\n") {
			fmt.Fprintln(&b, "#", print.Clean(strings.TrimSuffix(line, "\n")))
		}
		b.WriteString("#\n# Lines are counted below these comments.\n")
	}
	b.WriteString("#\n" + text)
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return "", err
	}
	if err := e.editor(ctx, file); err != nil {
		return "", err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var kept strings.Builder
	head := true // a value may have lines that begin with #
	for line := range strings.Lines(strings.TrimPrefix(string(raw), "\ufeff")) {
		if head = head && strings.HasPrefix(line, "#"); !head {
			kept.WriteString(line)
		}
	}
	return kept.String(), nil
}

// editor runs the person's editor.
func (e Editing) editor(ctx context.Context, file string) error {
	program := cmp.Or(os.Getenv("VISUAL"), os.Getenv("EDITOR"), "vi")
	args := append(strings.Fields(program), file)
	if shell, err := exec.LookPath("sh"); err == nil { // the variable is a command line
		args = []string{shell, "-c", program + ` "$1"`, program, file}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the person who runs husk sets the variable
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.In, e.Out, e.Errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("editor %q: %w; set VISUAL or EDITOR to another one", program, err)
	}
	return nil
}
