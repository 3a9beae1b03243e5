// SPDX-License-Identifier: Apache-2.0

// Command husk is the command line of Husk; see package cli.
package main

import (
	"os"

	"husk/cli"
)

func main() { os.Exit(cli.Main()) }
