// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"strings"
)

// Set gives settings values in a file as that of /etc/husk, as an operator does: it removes the # in front. The file keeps its mode.
func Set(file string, values map[string]string) error {
	raw, err := os.ReadFile(file) //nolint:gosec // the path comes from a test
	if err != nil {
		return err
	}
	lines := strings.Split(string(raw), "\n")
	for key, value := range values {
		found := false
		for i, line := range lines {
			if strings.HasPrefix(line, "# "+key+": ") || strings.HasPrefix(line, key+": ") {
				lines[i], found = key+": "+value, true
			}
		}
		if !found {
			lines = append(lines, key+": "+value)
		}
	}
	return os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600)
}
