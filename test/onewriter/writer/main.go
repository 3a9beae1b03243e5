// SPDX-License-Identifier: Apache-2.0

// The writer writes numbered records to a file as fast as it can, and says on its standard output which ones are
// stored. Each run has a name of its own. It is the program of a pod whose volume must never have two writers.
package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"husk/test/onewriter/record"
)

func main() {
	fmt.Println("error", write(os.Args[1]))
	time.Sleep(time.Hour) // another run would hide the fault
}

// write writes until it fails.
func write(path string) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	me := strings.ReplaceAll(string(boot), "-", "")[:8]
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_DSYNC, 0o600)
	if err != nil {
		return err
	}
	found, err := record.Read(f)
	if err != nil {
		return err
	}
	fmt.Println("open", me, len(found))
	for n := len(found) + 1; ; n++ {
		if _, err := f.WriteAt(record.Of(me, n), int64(n-1)*record.Size); err != nil {
			return err
		}
		fmt.Println("wrote", me, n)
	}
}
