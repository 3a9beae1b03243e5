// SPDX-License-Identifier: Apache-2.0

package rbddiff

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// image reads a stream into memory.
func image(from io.Reader) ([]byte, error) {
	r, err := NewReader(from)
	if err != nil {
		return nil, err
	}
	if r.Size() > 1<<20 {
		return nil, errors.New("too large for this test")
	}
	content, buf := make([]byte, r.Size()), make([]byte, 100)
	for {
		offset, n, err := r.Next(buf)
		if errors.Is(err, io.EOF) {
			return content, nil
		}
		if err != nil {
			return nil, err
		}
		copy(content[offset:offset+int64(n)], buf[:n])
	}
}

func stream(t testing.TB, size int64, write func(w *Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, size)
	if err == nil {
		err = errors.Join(write(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestContentIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("x"), 333)
	raw := stream(t, 4096, func(w *Writer) error { return errors.Join(w.Write(10, []byte("ten")), w.Write(1000, long)) })
	got, err := image(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 4096)
	copy(want[10:], "ten")
	copy(want[1000:], long)
	if !bytes.Equal(got, want) {
		t.Error("the content has changed")
	}
	for n := range raw { // cut off anywhere
		if _, err := image(bytes.NewReader(raw[:n])); err == nil {
			t.Errorf("of %d bytes, %d are accepted", len(raw), n)
		}
	}
}

func TestWhatRBDWritesBesidesIsRead(t *testing.T) {
	t.Parallel()
	const whole = Header + "t\x04\x00\x00\x00snap" + "s\x00\x10\x00\x00\x00\x00\x00\x00" + "z\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00" +
		"w\x08\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00hie"
	got, err := image(strings.NewReader(whole))
	if err != nil || len(got) != 4096 || string(got[8:10]) != "hi" {
		t.Errorf("%q: %v", got[:min(len(got), 16)], err)
	}
	for what, text := range map[string]string{
		"another format":                       "PK\x03\x04",
		"a difference":                         Header + "f\x04\x00\x00\x00snap",
		"no size":                              Header + "e",
		"a negative size":                      Header + "s\xff\xff\xff\xff\xff\xff\xff\xff",
		"a long name":                          Header + "t\xff\xff\xff\xff",
		"data that goes back":                  strings.Replace(whole, "w\x08", "w\x07", 1),
		"data beyond the end":                  strings.Replace(whole, "\x02\x00\x00\x00\x00\x00\x00\x00hi", "\xff\xff\x00\x00\x00\x00\x00\x00hi", 1),
		"an offset and a length that overflow": Header + "s\x00\x10\x00\x00\x00\x00\x00\x00" + "w\xff\xff\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x7f",
		"an unknown record":                    strings.Replace(whole, "z\x00", "?\x00", 1),
	} {
		if _, err := image(strings.NewReader(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(stream(f, 4096, func(w *Writer) error { return w.Write(10, []byte("ten")) }))
	f.Add([]byte(Header + "t\x04\x00\x00\x00snaps\x00\x10\x00\x00\x00\x00\x00\x00z"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		content, err := image(bytes.NewReader(raw)) // writes outside of the image would panic
		if err != nil {
			return
		}
		again, err := image(bytes.NewReader(stream(t, int64(len(content)), func(w *Writer) error { return w.Write(0, content) })))
		if err != nil || !bytes.Equal(content, again) {
			t.Errorf("written and read again, the content differs: %v", err)
		}
	})
}
