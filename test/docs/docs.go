// SPDX-License-Identifier: Apache-2.0

// Package docs reads the command blocks of the documentation, so that tests can run them. The
// commands in README.md and docs/ must work as printed. Tests run the blocks fenced with ```sh;
// they do not run ```console and ```text.
package docs

import (
	"fmt"
	"os"
	"strings"
)

// Blocks returns the ```sh blocks of a Markdown file, in order, each with its newline at the end. A block that is not closed is an error.
func Blocks(file string) ([]string, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the path comes from a test
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
