// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// WriteInitramfs writes an initramfs with the program init as /init, the program probe as /husk-probe,
// and the modules of the kernel whose /lib/modules directory is moduleDir. The same input gives the same bytes. It is not
// compressed: decompressing it would take an emulated CPU 0.3 s, and reading 4 MB more takes no
// measurable time.
func WriteInitramfs(w io.Writer, init, probe, moduleDir string) error {
	set, err := readModules(moduleDir)
	if err != nil {
		return err
	}
	a := archive{cpio.NewWriter(w)}
	for _, dir := range []string{"dev", "mnt", "modules", "proc", "run", "sys"} {
		if err := a.dir(dir); err != nil {
			return err
		}
	}
	// Without a console driver in the kernel, init begins without open files, and the Go runtime then
	// opens /dev/null. A regular file is enough: the cpio library cannot write devices, and devtmpfs
	// covers it as soon as init runs.
	if err := a.file("dev/null", nil, 0o600); err != nil {
		return err
	}
	have := map[string]bool{}
	for _, list := range moduleLists {
		files, err := set.resolve(list.modules, have)
		if err != nil {
			return err
		}
		var lines strings.Builder
		for _, file := range files {
			to := "modules/" + path.Base(file)
			module, err := os.ReadFile(filepath.Join(moduleDir, file))
			if err != nil {
				return err
			}
			if err := a.file(to, slim(module), 0o600); err != nil {
				return err
			}
			lines.WriteString("/" + to + "\n")
		}
		if err := a.file("modules/"+list.name, []byte(lines.String()), 0o600); err != nil {
			return err
		}
	}
	if err := a.copy("init", init, 0o755); err != nil {
		return err
	}
	if err := a.copy("husk-probe", probe, 0o755); err != nil {
		return err
	}
	return a.w.Close()
}

// archive writes a cpio archive in which everything belongs to root and has the same time.
type archive struct{ w *cpio.Writer }

func (a archive) dir(name string) error {
	return a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeDir | 0o755, Links: 2})
}

func (a archive) file(name string, content []byte, mode cpio.FileMode) error {
	err := a.w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | mode, Links: 1, Size: int64(len(content))})
	if err != nil {
		return err
	}
	_, err = a.w.Write(content)
	return err
}

func (a archive) copy(name, from string, mode cpio.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return a.file(name, content, mode)
}
