// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// virtlogd imitates the daemon of this name, with its default limits.
type virtlogd struct {
	t    *testing.T
	path string
}

func (v virtlogd) write(p []byte) {
	v.t.Helper()
	const size, backups = 2 << 20, 3
	if info, err := os.Stat(v.path); err == nil && info.Size() >= size {
		for i := backups - 1; i > 0; i-- {
			_ = os.Rename(fmt.Sprintf("%s.%d", v.path, i-1), fmt.Sprintf("%s.%d", v.path, i))
		}
		if err := os.Rename(v.path, v.path+".0"); err != nil {
			v.t.Fatal(err)
		}
	}
	f, err := os.OpenFile(v.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(p); err != nil {
		v.t.Fatal(err)
	}
}

func TestAConsoleThatIsFloodedIsNoticedAndForgivenLater(t *testing.T) {
	t.Parallel()
	out := virtlogd{t, filepath.Join(t.TempDir(), "pod.console")}
	out.write(make([]byte, 3<<20)) // what a previous agent has seen
	flood, now := NewFlood(out.path), time.Unix(1000, 0)
	if flood.Check(now) {
		t.Error("output from before the first check counts")
	}
	written, noticed := 0, -1
	for i := range 4 * 15 { // 16 MiB per second for 15 s
		now = now.Add(LookEvery)
		for range 4 {
			out.write(bytes.Repeat([]byte("x"), 1<<20))
			written += 1 << 20
		}
		if flood.Check(now) && noticed < 0 {
			noticed = i
		}
	}
	if noticed != 0 {
		t.Errorf("the flood was noticed after %d checks", noticed)
	}
	calm := now
	for flood.Check(now) {
		now = now.Add(LookEvery)
	}
	if paid := now.Sub(calm); paid.Seconds()*floodRate < float64(written)/2 {
		t.Errorf("the flood is over after only %s, although the machine printed %d bytes", paid, written)
	}
}

func TestABootIsNoFlood(t *testing.T) {
	t.Parallel()
	out := virtlogd{t, filepath.Join(t.TempDir(), "pod.console")}
	flood, now := NewFlood(out.path), time.Unix(1000, 0)
	for i := range 1000 {
		if i == 0 {
			out.write(make([]byte, 200<<10)) // the boot
		}
		out.write(make([]byte, 8<<10)) // half of what is allowed
		if now = now.Add(LookEvery); flood.Check(now) {
			t.Fatalf("a flood after %d checks", i)
		}
	}
}
