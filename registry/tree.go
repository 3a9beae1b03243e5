// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// A tree is the file system that results from the layers: names and metadata only. It applies the
// layers from the lowest up, and follows symbolic links, as a container runtime does when it
// unpacks layers. But it unpacks nothing.
type tree struct {
	root   *node
	layer  int     // the current one
	budget *Limits // what is left
	steps  int     // path components that were followed
}

// node is one name in one directory.
type node struct {
	layer    int              // the layer that added the name here
	children map[string]*node // of a directory, else nil
	dir      *tar.Header      // of a directory
	file     *file            // of anything else; shared by hard links
}

// file is content: one entry of one layer.
type file struct {
	header *tar.Header
	layer  int
	index  int      // of the entry in its layer
	names  []string // its names in the final tree; see survivors
}

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // a storage driver's own metadata

	maxName  = 255 // limit of a directory entry
	maxPath  = 4095
	maxLinks = 40 // symbolic links on one path, as in Linux
	// maxSteps limits the time for following paths, to a few seconds. Large images need about ten
	// steps for each of half a million files.
	maxSteps = 50_000_000
)

func newTree(budget *Limits) *tree { return &tree{root: newDir(0, nil), budget: budget} }

// nodeCost is an upper bound of the memory of an entry without its strings, in bytes.
// TestTheTreeKeepsItsBudget checks it.
const nodeCost = 768

// charge subtracts the memory of an entry with this header from the budget.
func (t *tree) charge(h *tar.Header) error {
	cost := nodeCost + len(h.Name) + len(h.Linkname)
	for key, value := range h.PAXRecords {
		cost += nodeCost/8 + len(key) + len(value)
	}
	return t.chargeBytes(cost)
}

func (t *tree) chargeBytes(n int) error {
	if t.budget.Metadata -= int64(n); t.budget.Metadata < 0 {
		return fmt.Errorf("%w: too much metadata of files", ErrTooLarge)
	}
	return nil
}

func newDir(layer int, header *tar.Header) *node {
	if header == nil { // only implied by its content
		header = &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}
	}
	return &node{layer: layer, dir: header, children: map[string]*node{}}
}

// apply adds one entry of the current layer. It keeps the header.
func (t *tree) apply(index int, h *tar.Header) error {
	clean, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	if len(h.Linkname) > maxPath { // longer ones cannot exist, and take long to follow
		return fmt.Errorf("%w: link of %d bytes", ErrBadImage, len(h.Linkname))
	}
	if clean == "" { // the root itself
		if h.Typeflag == tar.TypeDir {
			t.root.dir = h
		}
		return nil
	}
	dirName, base := path.Split(clean)
	if strings.HasPrefix(base, whiteoutPrefix) {
		return t.whiteout(dirName, base)
	}
	if len(base) > maxName {
		return fmt.Errorf("%w: name of %d bytes", ErrBadImage, len(base))
	}
	parent, err := t.dir(dirName, true)
	if err != nil {
		return err
	}
	if err := t.charge(h); err != nil {
		return err
	}
	base = strings.Clone(base) // otherwise the tree would also keep the whole path
	old := parent.children[base]
	switch h.Typeflag {
	case tar.TypeDir:
		if old != nil && old.children != nil {
			old.dir, old.layer = h, t.layer
			return nil
		}
		parent.children[base] = newDir(t.layer, h)
	case tar.TypeLink:
		target, err := t.lookup(h.Linkname)
		if err != nil {
			return err
		}
		if target == nil || target.file == nil {
			return fmt.Errorf("%w: hard link %q to %q, which is not a file", ErrBadImage, clean, h.Linkname)
		}
		parent.children[base] = &node{layer: t.layer, file: target.file}
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, tar.TypeSymlink, tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		parent.children[base] = &node{layer: t.layer, file: &file{header: h, layer: t.layer, index: index}}
	default:
		// Entries of other kinds are no files. They still hide what was there.
		delete(parent.children, base)
	}
	return nil
}

// whiteout hides what lower layers put there. It hides nothing of this layer, whatever the order of
// the layer's entries.
func (t *tree) whiteout(dirName, base string) error {
	parent, err := t.dir(dirName, false)
	if err != nil || parent == nil {
		return err
	}
	if base == opaqueMarker {
		t.hideLower(parent)
		return nil
	}
	if strings.HasPrefix(base, metaPrefix) {
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if n := parent.children[name]; n != nil && t.hide(n) {
		delete(parent.children, name)
	}
	return nil
}

// hide hides what lower layers put under a name, and reports whether the name itself is hidden. A
// directory stays if this layer put something into it.
func (t *tree) hide(n *node) bool {
	if n.children != nil {
		t.hideLower(n)
		return n.layer < t.layer && len(n.children) == 0
	}
	return n.layer < t.layer
}

func (t *tree) hideLower(dir *node) {
	maps.DeleteFunc(dir.children, func(_ string, n *node) bool { return t.hide(n) })
}

// lookup finds what a path leads to. It does not follow the last component.
func (t *tree) lookup(name string) (*node, error) {
	clean, err := cleanPath(name)
	if err != nil {
		return nil, err
	}
	dirName, base := path.Split(clean)
	parent, err := t.dir(dirName, false)
	if err != nil || parent == nil {
		return nil, err
	}
	return parent.children[base], nil
}

// dir finds a directory, following symbolic links inside the tree. If it is missing, dir creates it
// if make is true, and otherwise returns nil.
func (t *tree) dir(name string, make bool) (*node, error) {
	way := []*node{t.root}
	todo := strings.Split(name, "/")
	links := 0
	for len(todo) > 0 {
		if t.steps++; t.steps > maxSteps {
			return nil, fmt.Errorf("%w: too many long paths", ErrTooLarge)
		}
		part := todo[0]
		todo = todo[1:]
		here := way[len(way)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		next := here.children[part]
		if next == nil {
			if !make {
				return nil, nil
			}
			if len(part) > maxName {
				return nil, fmt.Errorf("%w: name of %d bytes", ErrBadImage, len(part))
			}
			if t.budget.Entries--; t.budget.Entries < 0 {
				return nil, fmt.Errorf("%w: too many entries", ErrTooLarge)
			}
			if err := t.chargeBytes(nodeCost + len(part)); err != nil {
				return nil, err
			}
			next = newDir(t.layer, nil)
			here.children[strings.Clone(part)] = next // as above
		}
		if next.children != nil {
			way = append(way, next)
			continue
		}
		if next.file.header.Typeflag != tar.TypeSymlink {
			return nil, fmt.Errorf("%w: %q has a file as a parent directory", ErrBadImage, name)
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%w: %q has too many symbolic links", ErrBadImage, name)
		}
		target := next.file.header.Linkname
		if strings.HasPrefix(target, "/") {
			way = way[:1]
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return way[len(way)-1], nil
}

func isDevice(h *tar.Header) bool { return h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock }

// addVolumes creates the directories that the image declares as volumes and that its layers do not have, as docker does. It skips a
// path that cannot exist, or that leads through something else than directories.
func (t *tree) addVolumes(paths []string) error {
	for _, p := range paths {
		if clean, err := cleanPath(p); err == nil {
			if _, err := t.dir(clean, true); errors.Is(err, ErrTooLarge) {
				return err
			}
		}
	}
	return nil
}

// cleanPath makes a name relative to the root and removes "..".
func cleanPath(name string) (string, error) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if len(clean) > maxPath || len(path.Base(clean)) > maxName+len(whiteoutPrefix) || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("%w: name of %d bytes", ErrBadImage, len(name))
	}
	return clean, nil
}

// survivors walks the finished tree. It returns the directories, parents first, and fills in the
// names of each file.
func (t *tree) survivors() (dirs []*tar.Header, files map[[2]int]*file, err error) {
	files = map[[2]int]*file{}
	var walk func(string, *node)
	walk = func(prefix string, dir *node) {
		for _, base := range slices.Sorted(maps.Keys(dir.children)) {
			n, name := dir.children[base], prefix+base
			if len(name) > maxPath { // through symbolic links
				err = fmt.Errorf("%w: name of %d bytes", ErrBadImage, len(name))
				return
			}
			if err = t.chargeBytes(len(name)); err != nil { // because of symbolic links, this name can be longer than the one in the archive
				return
			}
			if n.children != nil {
				h := *n.dir
				h.Name = name + "/"
				dirs = append(dirs, &h)
				if walk(h.Name, n); err != nil {
					return
				}
				continue
			}
			if isDevice(n.file.header) { // it does not belong in a container's image, and neither do its hard links
				continue
			}
			n.file.names = append(n.file.names, name)
			files[[2]int{n.file.layer, n.file.index}] = n.file
		}
	}
	walk("", t.root)
	return dirs, files, err
}
