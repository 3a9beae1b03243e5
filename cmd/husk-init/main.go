// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command husk-init is PID 1 in a pod's VM, and the process as which every container starts. In
// containers with an init process, it stays that. Its code is in packages guest/pid1 and guest/become.
package main

import (
	"os"

	"husk/guest/become"
	"husk/guest/pid1"
)

func main() {
	switch os.Args[0] {
	case become.ContainerName:
		become.Container()
	case become.CommandName:
		become.Command()
	case become.InitName:
		become.Init()
	}
	pid1.Main()
}
