// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/nodeagent/network"
	"husk/pki"
)

// Another node of the installation can do nothing at an agent, except send the memory of a pod that the agent expects from exactly there.
func TestAnotherNodeReachesNothingOfAnAgent(t *testing.T) {
	t.Parallel()
	authority, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	holder := func(id uuid.UUID) *pki.NodeHolder {
		key, request, err := pki.NewRequest()
		if err != nil {
			t.Fatal(err)
		}
		issued, err := authority.IssueNode(id.String(), request, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair([]byte(issued.PEM), []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		h := &pki.NodeHolder{}
		h.Replace(&cert)
		return h
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	own, source, other, pod := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	a := &Agent{cfg: Config{Listen: address}, log: slog.New(slog.DiscardHandler), id: &identity{root: authority.Root()}, holder: holder(own), workers: map[uuid.UUID]*worker{}}
	a.net = &network.Network{}
	a.reports = newReporter(nil, nil, a.log)
	a.names = noNames(t)
	a.metrics = newMetrics(a)
	a.workers[pod] = &worker{agent: a, id: pod, desired: husk.DesiredPod{
		ID: pod, Placement: 7, State: husk.DesiredIncoming, From: &husk.MovePeer{NodeID: source},
	}}
	stop, err := a.serveEndpoint()
	if err != nil {
		t.Fatal(err)
	}
	defer stop() //nolint:errcheck // the test is over
	ask := func(who pki.Holder, method, path string, want int) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: pki.ServerClient(authority.Root(), who, own.String())}}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+a.cfg.Listen+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Upgrade", "husk-memory/1")
		r.Header.Set("Connection", "Upgrade")
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s %s answers %d, not %d", method, path, answer.StatusCode, want)
		}
	}
	server, err := pki.NewServerHolder(authority)
	if err != nil {
		t.Fatal(err)
	}
	of := "/v1/pods/" + pod.String()
	ask(server, http.MethodGet, "/metrics", http.StatusOK)
	for _, path := range []string{"/metrics", of + "/logs", of + "/stats", of + "/exec", of + "/console"} {
		ask(holder(source), http.MethodGet, path, http.StatusForbidden)
	}
	ask(holder(source), http.MethodPost, of+"/kill", http.StatusForbidden)
	ask(holder(other), http.MethodPost, of+"/memory?placement=7", http.StatusConflict)
	ask(server, http.MethodPost, of+"/memory?placement=7", http.StatusConflict)
	ask(holder(source), http.MethodPost, of+"/memory?placement=6", http.StatusConflict)
	ask(holder(source), http.MethodPost, "/v1/pods/"+other.String()+"/memory?placement=7", http.StatusConflict)
}
