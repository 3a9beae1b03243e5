// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command husk-init is PID 1 in a pod's VM, and the process as which every container starts. Its
// code is in package guest/pid1.
package main

import (
	"os"

	"husk/guest/pid1"
)

func main() {
	switch os.Args[0] {
	case pid1.ChildName:
		pid1.RunChild()
	case pid1.ExecName:
		pid1.RunExec()
	}
	pid1.Main()
}
