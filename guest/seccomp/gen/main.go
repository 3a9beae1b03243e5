// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

// Command gen writes the system call filter of containers, compiled for the kernel. Its argument is
// the file to write.
//
// Compiling needs two libraries and a table of all system calls. Doing it here keeps them out of
// husk-init, which is part of every pod.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"

	compiler "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	profile "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"

	"husk/guest/seccomp"
)

func main() {
	filter, err := compile()
	if err == nil {
		err = os.WriteFile(os.Args[1], filter, 0o644) //nolint:gosec // it is source code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "seccomp:", err)
		os.Exit(1)
	}
}

// operations translates the profile's comparisons. OpMaskedEqual is missing: see conditions.
var operations = map[specs.LinuxSeccompOperator]compiler.Operation{
	specs.OpEqualTo: compiler.Equal, specs.OpNotEqual: compiler.NotEqual, specs.OpLessThan: compiler.LessThan,
	specs.OpLessEqual: compiler.LessOrEqual, specs.OpGreaterThan: compiler.GreaterThan, specs.OpGreaterEqual: compiler.GreaterOrEqual,
}

// compile compiles Docker's default profile for a container with the capabilities that Husk gives.
func compile() ([]byte, error) {
	set, err := profile.GetDefaultProfile(&specs.Spec{Process: &specs.Process{
		Capabilities: &specs.LinuxCapabilities{Bounding: slices.Collect(maps.Values(seccomp.Capabilities))},
	}})
	if err != nil {
		return nil, err
	}
	known, err := arch.GetInfo("amd64")
	if err != nil {
		return nil, err
	}
	allow := compiler.SyscallGroup{Action: compiler.ActionAllow}
	groups := map[compiler.Action]*compiler.SyscallGroup{compiler.ActionAllow: &allow}
	order := []*compiler.SyscallGroup{}
	// First those without conditions: for these, conditions of other rules change nothing.
	for _, conditional := range []bool{false, true} {
		for _, rule := range set.Syscalls {
			if (len(rule.Args) > 0) != conditional {
				continue
			}
			action, err := actionOf(rule)
			if err != nil {
				return nil, err
			}
			group := groups[action]
			if group == nil {
				group = &compiler.SyscallGroup{Action: action}
				groups[action] = group
				order = append(order, group)
			}
			args, err := conditions(rule)
			if err != nil {
				return nil, err
			}
			for _, name := range rule.Names {
				if _, ok := known.SyscallNames[name]; !ok || slices.Contains(group.Names, name) {
					continue // of another architecture
				}
				if conditional {
					group.NamesWithCondtions = append(group.NamesWithCondtions, compiler.NameWithConditions{Name: name, Conditions: args})
				} else {
					group.Names = append(group.Names, name)
				}
			}
		}
	}
	policy := compiler.Policy{DefaultAction: compiler.ActionErrno}
	for _, group := range append(order, &allow) { // refusals with another error come first
		policy.Syscalls = append(policy.Syscalls, *group)
	}
	instructions, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(instructions)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = binary.Write(&out, binary.LittleEndian, raw)
	return out.Bytes(), err
}

func actionOf(rule specs.LinuxSyscall) (compiler.Action, error) {
	switch rule.Action {
	case specs.ActAllow:
		return compiler.ActionAllow, nil
	case specs.ActErrno:
		if rule.ErrnoRet != nil {
			return compiler.ActionErrno | compiler.Action(*rule.ErrnoRet), nil
		}
		return compiler.ActionErrno, nil
	default:
		return 0, fmt.Errorf("rule for %v: unknown action %s", rule.Names, rule.Action)
	}
}

func conditions(rule specs.LinuxSyscall) (compiler.ArgumentConditions, error) {
	var all compiler.ArgumentConditions
	for _, a := range rule.Args {
		c := compiler.Condition{Argument: uint32(a.Index), Value: a.Value, Operation: operations[a.Op]}
		if a.Op == specs.OpMaskedEqual && a.ValueTwo == 0 {
			c.Operation = compiler.BitsNotSet
		}
		if c.Operation == "" {
			return nil, fmt.Errorf("rule for %v: unknown comparison %s", rule.Names, a.Op)
		}
		all = append(all, c)
	}
	return all, nil
}
