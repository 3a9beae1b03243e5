// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

//go:embed torture-verify.sh
var tortureVerify string

const tortureBig = 64 << 20

// tortureText has the regular text files of the image whose content is checked, by path below /torture.
var tortureText = map[string]string{
	"kept":                               "from the first layer\n",
	"replaced":                           "new\n",
	"dir/b":                              "b\n",
	"opaque/new":                         "new\n",
	"again/new":                          "came back\n",
	"link-outlives":                      "linked\n",
	"through/a/link/file":                "by way of a link\n",
	"empty":                              "",
	"setuid":                             "#!/bin/sh\n",
	"with space":                         "weird 1\n",
	"-dash":                              "weird 2\n",
	"ünïcödé ☃":                          "weird 3\n",
	`quote"'$(id)`:                       "weird 4\n",
	"trailing.":                          "weird 5\n",
	strings.Repeat("long", 63):           "weird 6\n",
	strings.Repeat("deep/", 50) + "file": "weird 7\n",
}

// TortureSums returns the SHA-256 sums (hex) of the regular files below /torture in the image torture
// whose content is checked, by path.
func TortureSums() map[string]string {
	sums := map[string]string{}
	for path, text := range tortureText {
		sums["torture/"+path] = fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	}
	hash := sha256.New()
	_, _ = io.Copy(hash, tortureBigContent()) // reading and hashing cannot fail
	sums["torture/big"] = fmt.Sprintf("%x", hash.Sum(nil))
	return sums
}

// TortureGone are paths in lower layers that upper layers remove, so that the image must not
// contain them.
var TortureGone = []string{"torture/hidden", "torture/dir/a", "torture/hidden-dir", "torture/opaque/old", "torture/opaque/deep", "torture/again/old", "torture/link-target"}

func tortureBigContent() io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte([]byte("a seed for incompressible bytes."))), tortureBig)
}

var tortureLayers = []layerRecipe{
	{name: "torture-1", version: 1, add: func(f files) error {
		f.dir("torture", 0o755, 0)
		f.dir("torture/sticky", 0o1777, 0)
		f.file("torture/kept", 0o644, tortureText["kept"])
		f.file("torture/replaced", 0o644, "old\n")
		f.file("torture/hidden", 0o644, "not to be seen\n")
		f.file("torture/dir/a", 0o644, "a\n")
		f.file("torture/dir/b", 0o644, tortureText["dir/b"])
		f.file("torture/hidden-dir/x", 0o644, "x\n")
		f.file("torture/opaque/old", 0o644, "old\n")
		f.file("torture/opaque/deep/er", 0o644, "old\n")
		f.file("torture/again/old", 0o644, "old\n")
		f.file("torture/link-target", 0o644, tortureText["link-outlives"])
		f.dir("torture/through/a/link", 0o755, 0)
		f.symlink("torture/way", "through/a")
		f["torture/big"] = entry{tar.Header{Typeflag: tar.TypeReg, Name: "torture/big", Mode: 0o644, Size: tortureBig}, tortureBigContent}
		return nil
	}},
	{name: "torture-2", version: 1, add: func(f files) error {
		f.file("torture/.wh.hidden", 0o644, "")
		f.file("torture/dir/.wh.a", 0o644, "")
		f.file("torture/.wh.hidden-dir", 0o644, "")
		f.file("torture/opaque/.wh..wh..opq", 0o644, "")
		f.file("torture/opaque/new", 0o644, tortureText["opaque/new"])
		f.file("torture/.wh.again", 0o644, "")
		f.file("torture/replaced", 0o600, tortureText["replaced"])
		f.hardlink("torture/link-outlives", "torture/link-target")
		f.file("torture/way/link/file", 0o644, tortureText["through/a/link/file"])
		f.file("torture/setuid", 0o4755, tortureText["setuid"])
		return nil
	}},
	{name: "torture-3", version: 1, add: func(f files) error {
		f.file("torture/.wh.link-target", 0o644, "")
		f.file("torture/again/new", 0o644, tortureText["again/new"])
		f.put(tar.Header{Typeflag: tar.TypeReg, Name: "torture/replaced", Mode: 0o640, Uid: 1000, Gid: 1000}, tortureText["replaced"])
		f.hardlink("torture/kept-too", "torture/kept")
		f.symlink("torture/absolute", "/torture/kept")
		f.symlink("torture/dangling", "../nowhere")
		f.put(tar.Header{Typeflag: tar.TypeFifo, Name: "torture/fifo", Mode: 0o600}, "")
		f.put(tar.Header{Typeflag: tar.TypeChar, Name: "torture/device", Mode: 0o600, Devmajor: 1, Devminor: 3}, "")
		f.file("torture/new\nline", 0o644, "a newline in the name\n")
		done := []string{"kept", "replaced", "dir/b", "opaque/new", "again/new", "link-outlives", "through/a/link/file", "setuid"}
		for path, text := range tortureText {
			if !slices.Contains(done, path) {
				f.file("torture/"+path, 0o644, text)
			}
		}
		sums := TortureSums()
		var list strings.Builder
		for _, path := range slices.Sorted(maps.Keys(sums)) {
			fmt.Fprintf(&list, "%s  /%s\n", sums[path], path)
		}
		f.file("torture/SHA256SUMS", 0o644, list.String())
		f.file("torture/verify", 0o755, tortureVerify)
		return nil
	}},
}
