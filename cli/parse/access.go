// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"slices"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// Roles are the roles in a tenant.
var Roles = []string{string(openapi.Viewer), string(openapi.Developer), string(openapi.Owner)}

// Role reads a role. Its first argument is the name of the flag or argument, for the error.
func Role(what, text string) (openapi.Role, error) {
	if slices.Contains(Roles, text) {
		return openapi.Role(text), nil
	}
	if text == "" {
		return "", exit.Usagef("no role given; set %s: viewer reads, developer also creates and deletes, owner also manages access", what)
	}
	return "", exit.Usagef("%s: %q is not viewer, developer or owner", what, text)
}

// Mappings reads CLAIM=VALUE:ROLE. A value may have colons, a role has none.
func Mappings(items []string) ([]openapi.RoleMapping, error) {
	mappings := []openapi.RoleMapping{}
	for _, item := range items {
		claim, rest, _ := strings.Cut(item, "=")
		at := strings.LastIndexByte(rest, ':')
		if claim == "" || at <= 0 {
			return nil, exit.Usagef("--map: %q is not CLAIM=VALUE:ROLE, such as groups=devs:developer", item)
		}
		role, err := Role("--map", rest[at+1:])
		if err != nil {
			return nil, err
		}
		mappings = append(mappings, openapi.RoleMapping{Claim: claim, Value: rest[:at], Role: role})
	}
	return mappings, nil
}
