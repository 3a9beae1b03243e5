// SPDX-License-Identifier: Apache-2.0

//go:build linux

package fill

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// image makes the directory of an image.
func image(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "conf.d/deep"), 0o750))
	must(t, os.WriteFile(filepath.Join(dir, "conf.d/deep/a"), []byte("content"), 0o640))
	must(t, os.Symlink("conf.d/deep/a", filepath.Join(dir, "link")))
	must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "outside")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, unix.Setxattr(filepath.Join(dir, "conf.d/deep/a"), "user.color", []byte("blue"), 0))
	must(t, os.Chown(filepath.Join(dir, "conf.d/deep/a"), 1000, 1001))
	must(t, os.Lchown(filepath.Join(dir, "link"), 1002, 1003))
	must(t, os.Chown(dir, 999, 998))
	must(t, os.Chmod(dir, 0o700|fs.ModeSticky))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustFill(t *testing.T, volume, source string) {
	t.Helper()
	_, err := Fresh(volume, source)
	must(t, err)
}

// tree lists what is in a directory: mode, owner, and content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		content := ""
		switch info.Mode().Type() { //nolint:exhaustive // the others have no content
		case 0:
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			color := make([]byte, 16)
			n, _ := unix.Getxattr(p, "user.color", color)
			content = string(raw) + " " + string(color[:max(n, 0)])
		case fs.ModeSymlink:
			content, _ = os.Readlink(p)
		}
		rel, _ := filepath.Rel(dir, p)
		all = append(all, fmt.Sprintf("%s %s %d:%d %s", rel, info.Mode(), st.Uid, st.Gid, content))
		return nil
	}))
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func withoutFIFO(s string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.HasPrefix(l, "fifo") }), "\n")
}

func TestAFreshVolumeIsFilledOnce(t *testing.T) {
	t.Parallel()
	source, volume := image(t), t.TempDir()
	must(t, os.Mkdir(filepath.Join(volume, lostFound), 0o700))
	must(t, os.Remove(filepath.Join(volume, lostFound)))
	var all sync.WaitGroup
	for range 4 { // the containers of a pod start at the same time
		all.Go(func() {
			if _, err := Fresh(volume, source); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, want := tree(t, volume), withoutFIFO(tree(t, source)); got != want {
		t.Errorf("the volume has\n%s\nwant\n%s", got, want)
	}
	// What the container deletes stays deleted.
	must(t, os.RemoveAll(filepath.Join(volume, "conf.d")))
	must(t, os.Remove(filepath.Join(volume, "link")))
	must(t, os.Remove(filepath.Join(volume, "outside")))
	mustFill(t, volume, source)
	if entries, _ := os.ReadDir(volume); len(entries) != 0 {
		t.Errorf("an emptied volume was filled again: %v", entries)
	}
}

func TestAnInterruptedFillIsCompleted(t *testing.T) {
	t.Parallel()
	source, volume := image(t), t.TempDir()
	must(t, unix.Setxattr(volume, mark, []byte(begun), 0))
	must(t, os.WriteFile(filepath.Join(volume, partial), []byte("cont"), 0o600))
	must(t, os.WriteFile(filepath.Join(volume, "mine"), []byte("data"), 0o600))
	mustFill(t, volume, source)
	if raw, err := os.ReadFile(filepath.Join(volume, "conf.d/deep/a")); err != nil || string(raw) != "content" {
		t.Errorf("the file has %q, %v", raw, err)
	}
	// What somebody else has written in the meantime stays.
	if raw, err := os.ReadFile(filepath.Join(volume, "mine")); err != nil || string(raw) != "data" {
		t.Errorf("a file of the pod has %q, %v", raw, err)
	}
}

// A container can lock the volume for as long as it likes. Only the first fill waits for it.
func TestALockDoesNotDelayAFilledVolume(t *testing.T) {
	t.Parallel()
	source, volume := image(t), t.TempDir()
	mustFill(t, volume, source)
	holder, err := os.Open(volume)
	must(t, err)
	defer holder.Close()
	must(t, unix.Flock(int(holder.Fd()), unix.LOCK_EX))
	mustFill(t, volume, source)
}

func TestAVolumeInUseIsNotFilled(t *testing.T) {
	t.Parallel()
	source, volume := image(t), t.TempDir()
	must(t, os.WriteFile(filepath.Join(volume, "mine"), []byte("x"), 0o600))
	before := tree(t, volume)
	mustFill(t, volume, source)
	if got := tree(t, volume); got != before {
		t.Errorf("the volume has\n%s\nwant\n%s", got, before)
	}
	empty := t.TempDir()
	before = tree(t, empty)
	mustFill(t, empty, filepath.Join(source, "none"))
	mustFill(t, empty, filepath.Join(source, "conf.d/deep/a"))
	if got := tree(t, empty); got != before {
		t.Errorf("without a directory in the image, the volume has\n%s", got)
	}
}

func TestAVolumeBelongsToAGroup(t *testing.T) {
	t.Parallel()
	volume := image(t)
	must(t, Group(volume, 4711))
	for line := range strings.SplitSeq(tree(t, volume), "\n") {
		if !strings.Contains(line, ":4711 ") {
			t.Errorf("not in the group: %s", line)
		}
	}
	info, err := os.Stat(filepath.Join(volume, "conf.d/deep/a"))
	must(t, err)
	if info.Mode().Perm() != 0o660 {
		t.Errorf("the mode is %v", info.Mode())
	}
	// A volume that belongs to the group already is not walked through.
	must(t, os.Chown(filepath.Join(volume, "conf.d"), 0, 0))
	must(t, Group(volume, 4711))
	if got := tree(t, volume); !strings.Contains(got, "conf.d drwxr-x--- 0:0") && !strings.Contains(got, "0:0") {
		t.Errorf("the volume was walked through again:\n%s", got)
	}
}
