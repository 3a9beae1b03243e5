// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strconv"
	"strings"

	"husk/cli/exit"
)

// Port reads [LOCAL:]REMOTE. LOCAL may be 0, which is any free port.
func Port(text string) (local, remote int, _ error) {
	l, r, both := strings.Cut(text, ":")
	if !both {
		r = l
	}
	from, err1 := strconv.ParseUint(l, 10, 16)
	to, err2 := strconv.ParseUint(r, 10, 16)
	if err1 != nil || err2 != nil || to == 0 {
		return 0, 0, exit.Usagef("%q is not [LOCAL:]REMOTE, such as 8080:80", text)
	}
	return int(from), int(to), nil
}
