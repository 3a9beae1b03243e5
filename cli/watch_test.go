// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/cli/exit"
)

func TestReopenedWatchNeitherRepeatsNorMissesAChange(t *testing.T) {
	pod := func(id int, name, phase string) string {
		return fmt.Sprintf(`{"id":"00000000-0000-0000-0000-00000000000%d","name":%q,"status":{"phase":%q}}`, id, name, phase)
	}
	send := func(w http.ResponseWriter, kind, data string) { fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data) }
	var streams atomic.Int32
	_, out, _ := call(t, func(w http.ResponseWriter, _ *http.Request) {
		switch streams.Add(1) {
		case 1:
			send(w, "added", pod(1, "stays", "Running"))
			send(w, "added", pod(2, "goes", "Running"))
			send(w, "added", pod(3, "changes", "Pending"))
			send(w, "synced", "{}")
		case 2:
			send(w, "added", pod(1, "stays", "Running"))
			send(w, "added", pod(3, "changes", "Running"))
			send(w, "synced", "{}")
			send(w, "added", pod(4, "comes", "Pending"))
		default:
			problemOf(w, http.StatusUnauthorized, "unauthenticated", "", "enough")
		}
	}, "pods", "--watch", "-o", "name")
	want := "added pod/stays\nadded pod/goes\nadded pod/changes\nmodified pod/changes\ndeleted pod/goes\nadded pod/comes\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	call(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}, "version")
	cancel()
	var out, errs bytes.Buffer
	if code := run(ctx, []string{"pods", "--watch"}, strings.NewReader(""), &out, &errs); code != exit.Interrupted || errs.Len() != 0 {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}
