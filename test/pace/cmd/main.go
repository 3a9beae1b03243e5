// SPDX-License-Identifier: Apache-2.0

// Command cmd prints how many times slower this machine is than the reference machine of the tests' time limits; see package pace.
package main

import (
	"context"
	"fmt"
	"os"

	"husk/test/pace"
)

func main() {
	factor, err := pace.Measure(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "pace:", err)
		os.Exit(1)
	}
	fmt.Printf("%.2f\n", factor)
}
