// SPDX-License-Identifier: Apache-2.0

// Command corpora reports how much of what people bring along Husk accepts. It takes a folder of
// Kubernetes documents and compose files, and a husk program that is logged in:
//
//	go run ./test/corpora [-husk bin/husk] [-min PERCENT] FOLDER
//
// It runs husk apply --dry-run=server for each Kubernetes document, and groups the refusals by
// their reasons. For compose files, it names the fields that have no counterpart. With -min, it
// fails if a smaller share of the Pod documents is accepted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"
)

func main() {
	husk := flag.String("husk", "husk", "the program to run")
	least := flag.Int("min", 0, "fail if husk accepts a smaller share of the Pod documents, in percent")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "corpora: give one folder")
		os.Exit(2)
	}
	share, err := report(context.Background(), os.Stdout, *husk, flag.Arg(0))
	if err == nil && share < *least {
		err = fmt.Errorf("husk accepts %d %% of the Pod documents, less than %d %%", share, *least)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpora:", err)
		os.Exit(1)
	}
}

// report writes the report about a folder, and returns the share of Pod documents that husk
// accepts, in percent.
func report(ctx context.Context, w io.Writer, husk, folder string) (int, error) {
	c, err := read(folder)
	if err != nil {
		return 0, err
	}
	k := kubernetes{husk: husk, reasons: map[string]map[string]*reason{}, total: map[string]int{}, accepted: map[string]int{}}
	for _, d := range c.documents {
		if err := k.check(ctx, d, c.claims(d)); err != nil {
			return 0, err
		}
	}
	k.write(w)
	writeCompose(w, c.compose)
	for _, file := range c.unreadable {
		fmt.Fprintf(w, "not YAML: %s\n", file)
	}
	return percent(k.accepted["Pod"], k.total["Pod"]), nil
}

// document is one Kubernetes document.
type document struct {
	file   string
	kind   string
	name   string
	node   *yaml.Node
	claims []string // that a Pod names
}

// corpus is the content of a folder.
type corpus struct {
	documents  []document
	compose    map[string]*yaml.Node
	unreadable []string
}

func read(folder string) (*corpus, error) {
	c := &corpus{compose: map[string]*yaml.Node{}}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)) {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		return c.file(path, name)
	})
	if err == nil && len(c.documents) == 0 && len(c.compose) == 0 {
		err = fmt.Errorf("%s has no documents", folder)
	}
	return c, err
}

func (c *corpus) file(path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for d := yaml.NewDecoder(f); ; {
		var node yaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			c.unreadable = append(c.unreadable, name)
			return nil
		}
		c.add(name, &node)
	}
}

func (c *corpus) add(file string, node *yaml.Node) {
	var k struct {
		APIVersion string    `yaml:"apiVersion"`
		Kind       string    `yaml:"kind"`
		Services   yaml.Node `yaml:"services"`
		Metadata   struct {
			Name string `yaml:"name"`
		} `yaml:"metadata"`
	}
	if node.Decode(&k) != nil {
		return
	}
	if k.Services.Kind == yaml.MappingNode {
		c.compose[file] = node
	}
	if k.APIVersion == "" || k.Kind == "" {
		return
	}
	d := document{file: file, kind: k.Kind, name: k.Metadata.Name, node: node}
	var pod struct {
		Spec struct {
			Volumes []struct {
				Claim struct {
					Name string `yaml:"claimName"`
				} `yaml:"persistentVolumeClaim"`
			} `yaml:"volumes"`
		} `yaml:"spec"`
	}
	if k.Kind == "Pod" && node.Decode(&pod) == nil {
		for _, v := range pod.Spec.Volumes {
			d.claims = append(d.claims, v.Claim.Name)
		}
	}
	c.documents = append(c.documents, d)
}

// claims returns the claims that a Pod names and that are in the same folder.
func (c *corpus) claims(pod document) []*yaml.Node {
	var nodes []*yaml.Node
	for _, d := range c.documents {
		if d.kind == "PersistentVolumeClaim" && filepath.Dir(d.file) == filepath.Dir(pod.file) && slices.Contains(pod.claims, d.name) {
			nodes = append(nodes, d.node)
		}
	}
	return nodes
}

func percent(part, whole int) int {
	if whole == 0 {
		return 0
	}
	return 100 * part / whole
}
