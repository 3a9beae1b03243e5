// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strconv"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// ulimits reads the values of --ulimit.
func ulimits(values []string) (*[]openapi.Ulimit, error) {
	if len(values) == 0 {
		return nil, nil //nolint:nilnil // the flag is not given
	}
	var all []openapi.Ulimit
	for _, value := range values {
		name, numbers, _ := strings.Cut(value, "=")
		soft, hard, both := strings.Cut(numbers, ":")
		if !both {
			hard = soft
		}
		u := openapi.Ulimit{Name: openapi.UlimitName(name)}
		var err error
		if u.Soft, err = strconv.ParseInt(soft, 10, 64); err == nil {
			u.Hard, err = strconv.ParseInt(hard, 10, 64)
		}
		if name == "" || err != nil {
			return nil, exit.Usagef("--ulimit %q: give NAME=SOFT or NAME=SOFT:HARD, such as nofile=1024:65536", value)
		}
		all = append(all, u)
	}
	return &all, nil
}
