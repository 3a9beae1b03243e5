// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"strings"
)

// Console returns what a reader of a page types: the lines of its console blocks that begin with the prompt of a user or of root, by heading and
// in order, without the prompt. A block without prompts is returned as it is. The replacer fills in the names of the reader's machines.
func Console(file string, names *strings.Replacer) (map[string][]string, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the path comes from a test
	if err != nil {
		return nil, err
	}
	typed, heading := map[string][]string{}, ""
	var block []string
	in := false
	for line := range strings.Lines(names.Replace(string(raw))) {
		switch {
		case strings.HasPrefix(line, "```"):
			if in {
				typed[heading] = append(typed[heading], commands(block))
			}
			in = !in && strings.HasPrefix(line, "```console")
			block = nil
		case in:
			block = append(block, line)
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return typed, nil
}

// commands returns the lines after a prompt, with those that continue them.
func commands(block []string) string {
	var typed strings.Builder
	continues := false
	for _, line := range block {
		prompt := strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ")
		if prompt {
			line = line[2:]
		}
		if prompt || continues {
			typed.WriteString(line)
		}
		continues = (prompt || continues) && strings.HasSuffix(line, "\\\n")
	}
	if typed.Len() == 0 {
		return strings.Join(block, "")
	}
	return typed.String()
}
