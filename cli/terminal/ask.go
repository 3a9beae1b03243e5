// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ReadLine reads a line from a person.
func ReadLine(ctx context.Context, in io.Reader) (string, error) {
	line, err := interruptible(ctx, func() (string, error) { return bufio.NewReaderSize(in, 1).ReadString('\n') })
	line = strings.TrimSpace(line)
	if err != nil && line == "" {
		return "", fmt.Errorf("read your input: %w", err)
	}
	return line, nil
}

// ReadHidden reads a line that the terminal does not show. It turns echo on again, also after an interruption.
func ReadHidden(ctx context.Context, f *os.File) ([]byte, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	raw, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
	return raw, err
}

// interruptible abandons a read of a terminal when the command is interrupted.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	got := make(chan result, 1)
	go func() { // a read of a terminal cannot be cancelled; it ends with the process
		v, err := read()
		got <- result{v, err}
	}()
	select {
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case r := <-got:
		return r.v, r.err
	}
}
