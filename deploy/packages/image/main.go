// SPDX-License-Identifier: Apache-2.0

// Image writes the container image of a release's server to a file for docker load: a layer of Debian's packages, and one with huskd. Equal
// layers give equal files. The last stage of the Dockerfile makes the same image from source.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	base := flag.String("base", "", "archive of the file system with Debian's packages and the user")
	huskd := flag.String("huskd", "", "program")
	version := flag.String("version", "", "version of the release")
	commit := flag.String("commit", "", "commit from which the program is built")
	created := flag.Int64("time", 0, "time of the image and its files, in seconds since 1970")
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := write(*base, *huskd, *version, *commit, *out, time.Unix(*created, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(base, huskd, version, commit, out string, created time.Time) error {
	compressed := tarball.WithCompressionLevel(gzip.DefaultCompression)
	debian, err := tarball.LayerFromFile(base, compressed)
	if err != nil {
		return fmt.Errorf("archive %s: %w", base, err)
	}
	archive, err := programArchive(huskd, created)
	if err != nil {
		return err
	}
	program, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive)), nil }, compressed)
	if err != nil {
		return fmt.Errorf("layer of %s: %w", huskd, err)
	}
	image, err := mutate.AppendLayers(empty.Image, debian, program)
	if err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", "amd64", v1.Time{Time: created}
	file.Config = v1.Config{
		User:         "husk",
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HUSKD_LISTEN=0.0.0.0:8080", "HUSKD_AGENT_LISTEN=0.0.0.0:8443", "HUSKD_WORK_DIR=/var/lib/husk/work"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "8443/tcp": {}},
		Entrypoint:   []string{"huskd"},
		Cmd:          []string{"server"},
		Labels: map[string]string{
			"org.opencontainers.image.title": "husk-server", "org.opencontainers.image.version": version,
			"org.opencontainers.image.revision": commit, "org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	// docker-compose.yml uses this tag. With a second one, the file would have them in random order; a label has the version.
	tag, err := name.NewTag("husk-server:latest")
	if err != nil {
		return err
	}
	if err := tarball.WriteToFile(out, tag, image); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	return nil
}

// programArchive returns an archive with huskd.
func programArchive(huskd string, created time.Time) ([]byte, error) {
	program, err := os.ReadFile(huskd) //nolint:gosec // the caller chooses the file
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "usr/bin/huskd", Mode: 0o755, Size: int64(len(program)), ModTime: created}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return archive.Bytes(), nil
}
