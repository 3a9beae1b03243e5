// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"husk"
)

// metric returns the value of a series of this server's own metrics.
func (s fixture) metric(series string) float64 {
	s.t.Helper()
	for line := range strings.Lines(s.call("GET", "/metrics", s.operator(), nil).body) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	s.t.Errorf("there is no %s", series)
	return -1
}

func TestTheQueueIsAsOldAsItsOldestPod(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := s.tenant()
	pod, placer := s.createPod(c), s.loops.Passes()["schedule"] // there is no node
	if _, err := s.connect("husk_control").Exec(t.Context(), "UPDATE pods SET created_at = now() - interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
	s.pass(placer)
	if age := s.metric("husk_scheduler_queue_age_seconds"); age < 3600 || age > 3660 {
		t.Errorf("the queue is %v s old", age)
	}
	s.call("DELETE", "/v1/pods/"+pod.ID.String(), c.token, nil)
	s.pass(placer)
	if age := s.metric("husk_scheduler_queue_age_seconds"); age != 0 {
		t.Errorf("a queue without pods is %v s old", age)
	}
}

func TestOperatorsSeeHeartbeatsAndConnections(t *testing.T) {
	t.Parallel()
	s := open(t)
	id, _ := s.node()
	s.tenant()
	node, err := s.store.Node(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if at := s.metric(`husk_node_last_heartbeat_timestamp_seconds{node="` + node.Name + `"}`); time.Since(time.UnixMilli(int64(at*1000))).Abs() > time.Minute {
		t.Errorf("the heartbeat was at %v", at)
	}
	for _, pool := range []string{"tenants", "control"} {
		of := func(name string) float64 { return s.metric(name + `{pool="` + pool + `"}`) }
		used := s.metric(`husk_postgres_connections{pool="`+pool+`",state="in_use"}`) + s.metric(`husk_postgres_connections{pool="`+pool+`",state="idle"}`)
		if most := of("husk_postgres_connections_max"); most != 6 || used > most {
			t.Errorf("%s has %v of %v connections", pool, used, most)
		}
		if of("husk_postgres_connection_waits_total") < 1 || of("husk_postgres_connection_wait_seconds_total") <= 0 { // the first connection had to be opened
			t.Errorf("%s has never waited for a connection", pool)
		}
	}
}

// The duration of a stream is counted until it ends, so the alert on slow responses must exclude
// every operation that can stream.
func TestTheAlertOnSlowResponsesExcludesStreams(t *testing.T) {
	t.Parallel()
	s := open(t)
	raw, err := os.ReadFile("../deploy/prometheus-rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Record == "operation:husk_http_request_duration_seconds:p99_rate5m" {
				out = strings.Split(regexp.MustCompile(`operation!~"([^"]*)"`).FindStringSubmatch(r.Expr)[1], "|")
			}
		}
	}
	known := map[string]bool{"none": true}
	for _, item := range s.contract.spec.Paths.Map() {
		for _, op := range item.Operations() {
			name := operationName(op.OperationID)
			known[name] = true
			query := ""
			if op.Parameters.GetByInAndName("query", "watch") != nil {
				query = "?watch=true"
			}
			if streams(name, httptest.NewRequest(http.MethodGet, "/"+query, nil)) && !slices.Contains(out, name) && access[name].kinds[0] != husk.CallerAgent {
				t.Errorf("%s may stream, but the alert on slow responses does not exclude it", name)
			}
		}
	}
	for _, name := range out {
		if !known[name] {
			t.Errorf("the rule excludes %s, which is not in the contract", name)
		}
	}
}
