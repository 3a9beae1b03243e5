// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The ranks of the variants of an image for linux/amd64. The lowest rank is used: a plain image runs on every node. After the plain
// ones come those of which only the configuration says what they are for, and then those for newer processors.
const (
	plainRank = iota
	unnamedRank
	v2Rank
	v3Rank
	v4Rank
	otherRank // not for linux/amd64
)

const (
	// maxUnnamed limits how many variants without a platform are fetched to read their configuration, and maxFetched limits all variants.
	maxUnnamed = 8
	maxFetched = 32
	// maxNamed limits how many platforms an error names.
	maxNamed = 8
)

func rankOf(p *v1.Platform) int {
	switch {
	case p == nil, p.OS == "" && p.Architecture == "":
		return unnamedRank
	case p.OS != "linux" || p.Architecture != "amd64":
		return otherRank
	}
	switch p.Variant {
	case "", "v1":
		return plainRank
	case "v2":
		return v2Rank
	case "v3":
		return v3Rank
	default:
		return v4Rank
	}
}

// pick returns the image itself, or the image for linux/amd64 from an index.
func pick(found *remote.Descriptor) (v1.Image, *v1.ConfigFile, error) {
	if !found.MediaType.IsIndex() {
		img, err := found.Image()
		if err != nil {
			return nil, nil, err
		}
		file, err := configFile(img)
		if err != nil {
			return nil, nil, err
		}
		if !runs(file) {
			return nil, nil, fmt.Errorf("%w: it is for %s/%s", ErrNoPlatform, file.OS, file.Architecture)
		}
		return img, file, nil
	}
	index, err := found.ImageIndex()
	if err != nil {
		return nil, nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: index: %w", ErrBadImage, err)
	}
	variants := slices.DeleteFunc(slices.Clone(manifest.Manifests), func(d v1.Descriptor) bool { return d.MediaType.IsIndex() })
	slices.SortStableFunc(variants, func(a, b v1.Descriptor) int { return cmp.Compare(rankOf(a.Platform), rankOf(b.Platform)) })
	var others []string
	unnamed, fetched := 0, 0
	for _, d := range variants {
		rank := rankOf(d.Platform)
		if rank == otherRank {
			others = append(others, d.Platform.String())
			continue
		}
		if fetched == maxFetched {
			return nil, nil, fmt.Errorf("%w: its index says so of more than %d variants, and none of them is", ErrNoPlatform, maxFetched)
		}
		if rank == unnamedRank {
			if unnamed++; unnamed > maxUnnamed {
				continue
			}
		}
		fetched++
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, nil, err
		}
		file, err := configFile(img)
		if err != nil {
			return nil, nil, err
		}
		if runs(file) {
			return img, file, nil
		}
		others = append(others, file.OS+"/"+file.Architecture)
	}
	if len(others) == 0 {
		return nil, nil, fmt.Errorf("%w: its index is empty", ErrNoPlatform)
	}
	others = slices.Compact(others)
	if len(others) > maxNamed {
		others = append(others[:maxNamed], "others")
	}
	return nil, nil, fmt.Errorf("%w: it is for %s", ErrNoPlatform, strings.Join(others, ", "))
}

// runs reports whether an image is for linux/amd64. Some tools that build images leave out the platform.
func runs(file *v1.ConfigFile) bool {
	return (file.OS == "" || file.OS == "linux") && (file.Architecture == "" || file.Architecture == "amd64")
}

// configFile reads the configuration of an image, if it is not too large.
func configFile(img v1.Image) (*v1.ConfigFile, error) {
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrBadImage, err)
	}
	if len(manifest.Layers) > maxLayers || manifest.Config.Size > maxConfig {
		return nil, fmt.Errorf("%w: %d layers, config of %d bytes", ErrTooLarge, len(manifest.Layers), manifest.Config.Size)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return file, nil
}
