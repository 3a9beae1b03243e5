//go:build linux

// Command husk-init is PID 1 inside a pod's VM, and the process every container
// begins as. All it does is in package guest/pid1.
package main

import (
	"os"

	"husk/guest/pid1"
)

func main() {
	if os.Args[0] == pid1.ChildName {
		pid1.RunChild()
	}
	pid1.Main()
}
