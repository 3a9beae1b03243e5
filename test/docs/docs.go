// SPDX-License-Identifier: Apache-2.0

// Package docs reads the command blocks of the documentation, so that tests can run them: what README.md and docs/ print must work as
// printed. A block fenced with ```sh is meant to be run; ```console and ```text are not.
package docs

import (
	"fmt"
	"os"
	"strings"
)

// Blocks returns the ```sh blocks of a Markdown file, in order, each with its newline at the end. A block that is not closed is an error.
func Blocks(file string) ([]string, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // a test names it
	if err != nil {
		return nil, err
	}
	var blocks []string
	var block strings.Builder
	fence, language, opened := "", "", 0
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		text := strings.TrimSpace(line)
		ticks := text[:len(text)-len(strings.TrimLeft(text, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3 && !strings.Contains(text[len(ticks):], "`"):
			fence, opened = ticks, number
			language, _, _ = strings.Cut(strings.TrimSpace(text[len(ticks):]), " ")
		case fence != "" && text == ticks && len(ticks) >= len(fence):
			if language == "sh" {
				blocks = append(blocks, block.String())
			}
			fence = ""
			block.Reset()
		case fence != "":
			block.WriteString(line)
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("%s:%d: the block is not closed", file, opened)
	}
	return blocks, nil
}
