// SPDX-License-Identifier: Apache-2.0

package move

import (
	"strings"
	"testing"
	"time"

	"husk/openapi"
)

func TestASizeThatStaysTheSameIsReported(t *testing.T) {
	t.Parallel()
	size := func(mib int) openapi.Resources { return openapi.Resources{CPUMillis: 500, MemoryMiB: mib} }
	began := time.Unix(0, 0)
	var p progressed
	p.look(size(512), size(64), began)
	p.look(size(512), size(64), began.Add(still-time.Second))
	p.look(size(256), size(64), began.Add(still)) // it becomes smaller
	p.look(size(256), size(64), began.Add(2*still-time.Second))
	if p.rest != "" {
		t.Fatalf("a pod that becomes smaller %s", p.rest)
	}
	p.look(size(256), size(64), began.Add(2*still))
	if !strings.HasPrefix(p.rest, "has 500m cpu and 256 MiB now, and gets 500m cpu and 64 MiB at its next start, or when it frees memory") {
		t.Errorf("it %s", p.rest)
	}
	var q progressed
	q.look(size(256), size(8192), began)
	q.look(size(256), size(8192), began.Add(still))
	if q.rest != "has 500m cpu and 256 MiB now, and gets 500m cpu and 8192 MiB at its next start" {
		t.Errorf("it %s", q.rest)
	}
}
