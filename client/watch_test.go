// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadsServerSentEvents(t *testing.T) {
	t.Parallel()
	var got []string
	err := events(strings.NewReader(": ping\n\nevent: added\ndata: {\"a\":\ndata: 1}\n\nevent:synced\ndata:{}\n\nevent: cut\ndata: off"),
		func(e event) error { got = append(got, e.kind+" "+string(e.data)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`added {"a":1}`, `synced {}`}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSilentStreamIsReopened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		alive, wrap, stop := whileAlive(t.Context())
		defer stop()
		in, out := io.Pipe()
		context.AfterFunc(alive, func() { in.Close() }) // as net/http does
		go func() {
			for range 4 {
				time.Sleep(silence - time.Second)
				fmt.Fprint(out, ": ping\n\n")
			}
		}()
		start := time.Now()
		if err := events(wrap(in), func(event) error { return nil }); err == nil {
			t.Error("the stream ended by itself")
		}
		if took := time.Since(start); took != 4*(silence-time.Second)+silence {
			t.Errorf("given up after %s", took)
		}
	})
}
