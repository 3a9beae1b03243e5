// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheCommittedFilterIsTheCompiledProfile(t *testing.T) {
	t.Parallel()
	want, err := compile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../filter_amd64.bpf")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("guest/seccomp/filter_amd64.bpf is not what the profile compiles to: run go generate ./guest/seccomp")
	}
}
