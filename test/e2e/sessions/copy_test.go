// SPDX-License-Identifier: Apache-2.0

package sessions

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"husk/test/stack"
)

// copyFiles copies 100 MB to a volume and back, and directories in both directions.
func copyFiles(t *testing.T, tn *stack.Tenant) {
	dir := t.TempDir()
	const size = 100_000_000
	big := filepath.Join(dir, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	source := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(io.MultiWriter(f, sum), source, size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	began := time.Now()
	if got := tn.Run(t, nil, "cp", "-c", "main", big, "talk:/data/big"); got.Code != 0 {
		t.Fatalf("copy in: %+v", got)
	}
	in := time.Since(began)
	want := fmt.Sprintf("%x", sum.Sum(nil))
	if got := tn.Run(t, nil, "exec", "-c", "main", "talk", "--", "sha256sum", "/data/big"); !strings.HasPrefix(got.Out, want+" ") {
		t.Fatalf("in the pod the file is %+v, want %s", got, want)
	}
	began = time.Now()
	if got := tn.Run(t, nil, "cp", "-c", "main", "talk:/data/big", filepath.Join(dir, "back")); got.Code != 0 {
		t.Fatalf("copy out: %+v", got)
	}
	out := time.Since(began)
	back, err := os.ReadFile(filepath.Join(dir, "back"))
	if got := fmt.Sprintf("%x", sha256.Sum256(back)); err != nil || got != want {
		t.Errorf("copied back %d bytes with the checksum %s: %v; want %s", len(back), got, err, want)
	}
	t.Logf("100 MB in %s into the pod, in %s out of it", in.Round(time.Millisecond), out.Round(time.Millisecond))

	tree := filepath.Join(dir, "tree")
	for name, mode := range map[string]os.FileMode{"a/run": 0o755, "a/b/secret": 0o600} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755)
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Symlink("a/run", filepath.Join(tree, "link"))
	if got := tn.Run(t, nil, "cp", "-c", "main", tree, "talk:/tmp"); got.Code != 0 {
		t.Errorf("copy a directory to the pod: %+v", got)
	}
	if got := tn.Run(t, nil, "exec", "-c", "main", "talk", "--", "sh", "-c", "ln -s /etc/passwd /tmp/tree/out; mknod /tmp/tree/pipe p; cat /tmp/tree/link; stat -c %a:%u /tmp/tree/a/b/secret"); got.Out != "a/run600:0\n" {
		t.Errorf("in the pod: %+v", got)
	}
	got := tn.Run(t, nil, "cp", "-c", "main", "talk:/tmp/tree", filepath.Join(dir, "again"))
	if got.Code != 1 || !strings.Contains(got.Errs, "pipe was skipped") || !strings.Contains(got.Errs, "leads out of the archive") {
		t.Errorf("copy a directory from the pod: %+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "again/link")); err != nil || string(b) != "a/run" {
		t.Errorf("the file in the copied directory is %q: %v", b, err)
	}
	for code, args := range map[int][]string{
		3: {"cp", "-c", "main", "talk:/absent", dir},
		5: {"cp", "-c", "main", big, "talk:/dev/shm/full"}, // /dev/shm has half of the memory that the pod asks for, which is too small
		2: {"cp", filepath.Join(dir, "absent"), "talk:/tmp"},
	} {
		if got := tn.Run(t, nil, args...); got.Code != code {
			t.Errorf("husk %v: %+v, want the exit code %d", args, got, code)
		}
	}
}
