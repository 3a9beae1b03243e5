// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/uuid"

	"husk"
	"husk/openapi/agentclient"
)

// The parts of a whole state become one state with the revision of the first part. The server's tests cover how it makes parts.
func TestThePartsOfAStateAreJoined(t *testing.T) {
	t.Parallel()
	ids := []uuid.UUID{{1}, {2}, {3}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := 0
		for i, id := range ids {
			if r.URL.Query().Get("fromPod") == id.String() {
				at = i
			}
		}
		part := husk.DesiredState{Revision: int64(7 + at), Pods: []husk.DesiredPod{{ID: ids[at]}}}
		if at+1 < len(ids) {
			part.NextPod = &ids[at+1]
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(part); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	api, err := agentclient.NewClient(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	state, err := (&serverClient{api: api}).desired(t.Context(), -1, "", pollWait)
	if err != nil || state.Revision != 7 || len(state.Pods) != 3 || state.Pods[2].ID != ids[2] || state.NextPod != nil {
		t.Errorf("the state is %+v: %v", state, err)
	}
}
