// SPDX-License-Identifier: Apache-2.0

// Package version says which version of Husk a program was built from. The file VERSION has the
// number; nothing else does. Between two releases, it is the number of the next one with -dev.
package version

import (
	_ "embed"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

//go:embed VERSION
var number string

// commit is set by the linker for a release. Otherwise, the Go toolchain has recorded the commit.
var commit string

// Number returns the version, such as 0.1.0, or 0.1.0-dev between releases.
func Number() string { return strings.TrimSpace(number) }

// Commit returns the commit that the program was built from, with -modified if files were changed
// since. It is empty if the program was built outside of a repository.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if commit != "" || !ok {
		return commit
	}
	at, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			at = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-modified"
		}
	}
	if at == "" {
		return ""
	}
	return at + modified
}

// Line is what the command version of a program prints.
func Line(program string) string {
	line := program + " " + Number()
	if c := Commit(); c != "" {
		line += ", commit " + c
	}
	return fmt.Sprintf("%s, %s, %s/%s\n", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// UserAgent returns the User-Agent header of a program's requests.
func UserAgent(program string) string {
	return fmt.Sprintf("%s/%s (%s; %s)", program, Number(), runtime.GOOS, runtime.GOARCH)
}
