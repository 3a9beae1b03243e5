// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile is the maximum size of a file, in bytes. The API accepts four mebibytes for one pod.
const maxFile = 16 << 20

// Load reads all documents of files. If a file is "-", it reads stdin. If it is a directory, it reads the .yaml, .yml and .json files in the directory,
// sorted by name. It reports all mistakes of all documents together.
func Load(files []string, stdin io.Reader) ([]Document, error) {
	var docs []Document
	var problems MistakeErrors
	for _, file := range files {
		sources, err := expand(file)
		if err != nil {
			return nil, err
		}
		for _, source := range sources {
			found, err := load(source, stdin)
			if p, ok := errors.AsType[MistakeErrors](err); ok {
				problems = append(problems, p...)
				continue
			}
			if err != nil {
				return nil, err
			}
			docs = append(docs, found...)
		}
	}
	seen := map[string]string{}
	for _, d := range docs {
		if first, twice := seen[d.Ref()]; twice {
			problems = append(problems, fmt.Sprintf("%s: %s is also defined at %s", d.Where, d.Ref(), first))
		}
		seen[d.Ref()] = d.Where
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return docs, nil
}

func expand(file string) ([]string, error) {
	if file == "-" {
		return []string{file}, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{file}, nil
	}
	entries, err := os.ReadDir(file)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(file, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no .yaml, .yml or .json files", file)
	}
	return files, nil
}

func load(file string, in io.Reader) ([]Document, error) {
	name := file
	if file == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return Parse(name, raw)
}

// Parse reads the documents of one file.
func Parse(file string, raw []byte) ([]Document, error) {
	nodes, err := split(raw)
	if err != nil {
		return nil, MistakeErrors{file + ": " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	var docs []Document
	var problems MistakeErrors
	for _, node := range nodes {
		found, err := read(file, node)
		if p, ok := errors.AsType[MistakeErrors](err); ok {
			problems = append(problems, p...)
			continue
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, found...)
	}
	switch {
	case len(problems) > 0:
		return nil, problems
	case len(docs) == 0:
		return nil, MistakeErrors{file + ": the file has no document"}
	}
	return docs, nil
}

// split splits a file into its documents. JSON is also YAML unless it is indented with tabs, so split replaces tabs first.
func split(raw []byte) ([]*yaml.Node, error) {
	if text := bytes.TrimLeft(raw, " \t\r\n"); len(text) > 0 && text[0] == '{' && bytes.ContainsRune(raw, '\t') {
		if spaced, ok := withoutTabs(text); ok {
			raw = spaced
		}
	}
	var nodes []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if err != nil {
			return nil, err
		}
		if len(doc.Content) == 0 || doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].Tag == "!!null" { // there is nothing between two ---
			continue
		}
		nodes = append(nodes, doc.Content[0])
	}
}

// withoutTabs indents each JSON document of a stream with spaces, and separates them as YAML documents.
func withoutTabs(raw []byte) ([]byte, bool) {
	var out bytes.Buffer
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var doc json.RawMessage
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return out.Bytes(), true
		} else if err != nil {
			return nil, false
		}
		out.WriteString("---\n")
		if json.Indent(&out, doc, "", "  ") != nil {
			return nil, false
		}
		out.WriteByte('\n')
	}
}
