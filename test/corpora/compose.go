// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// counterparts are the fields of a compose file that Husk has a counterpart for, or that make no
// difference to it. Husk does not read compose files yet.
var counterparts = []string{
	"name", "version", "services",
	"services.*.command", "services.*.container_name", "services.*.cpus", "services.*.deploy.resources.limits.cpus",
	"services.*.deploy.resources.limits.memory", "services.*.deploy.resources.reservations.cpus",
	"services.*.deploy.resources.reservations.memory", "services.*.entrypoint", "services.*.environment", "services.*.expose",
	"services.*.image", "services.*.labels", "services.*.mem_limit", "services.*.privileged", "services.*.restart",
	"services.*.stdin_open", "services.*.stop_grace_period", "services.*.tty", "services.*.user", "services.*.working_dir",
}

// free are the fields whose own fields have names of the author's choice.
var free = []string{"services.*.environment", "services.*.labels", "services.*.build", "volumes", "networks", "configs", "secrets"}

// missing returns the fields of a compose file that have no counterpart.
func missing(file *yaml.Node) []string {
	found := map[string]bool{}
	walk(file, "", found)
	return slices.Sorted(maps.Keys(found))
}

func walk(node *yaml.Node, path string, found map[string]bool) {
	for node.Kind == yaml.DocumentNode || node.Kind == yaml.AliasNode {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
			continue
		}
		node = node.Content[0]
	}
	inside := slices.ContainsFunc(counterparts, func(c string) bool { return path == "" || strings.HasPrefix(c, path+".") })
	switch {
	case path == "services.*.volumes":
		if bound(node) {
			found["services.*.volumes: a directory of the host"] = true
		}
	case path == "volumes" || slices.Contains(counterparts, path) && !inside:
	case strings.HasPrefix(lastOf(path), "x-"): // an extension is for other programs
	case node.Kind != yaml.MappingNode || !inside || slices.Contains(free, path):
		found[path] = true
	default:
		for i := 0; i+1 < len(node.Content); i += 2 {
			next := node.Content[i].Value
			switch {
			case node.Content[i].Tag == "!!merge":
				walk(node.Content[i+1], path, found)
				continue
			case path == "services":
				next = "*"
			}
			walk(node.Content[i+1], strings.TrimPrefix(path+"."+next, "."), found)
		}
	}
}

func lastOf(path string) string { return path[strings.LastIndex(path, ".")+1:] }

// bound reports whether one of a service's volumes is a path of the host.
func bound(volumes *yaml.Node) bool {
	return slices.ContainsFunc(volumes.Content, func(v *yaml.Node) bool {
		var long struct {
			Type string `yaml:"type"`
		}
		if v.Kind == yaml.MappingNode {
			return v.Decode(&long) == nil && long.Type == "bind"
		}
		source, _, mapped := strings.Cut(v.Value, ":")
		return mapped && strings.ContainsAny(source[:min(len(source), 1)], "./~$")
	})
}

// writeCompose writes what is missing for compose files, the most frequent first.
func writeCompose(w io.Writer, files map[string]*yaml.Node) {
	if len(files) == 0 {
		return
	}
	counts := map[string]int{}
	complete := 0
	for _, file := range slices.Sorted(maps.Keys(files)) {
		fields := missing(files[file])
		if len(fields) == 0 {
			complete++
		}
		for _, field := range fields {
			counts[field]++
		}
	}
	fmt.Fprintf(w, "compose files: %d, %d of them with a counterpart for every field; husk does not read compose files yet\n", len(files), complete)
	for _, field := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	}) {
		fmt.Fprintf(w, "  %3d  %s\n", counts[field], field)
	}
}
