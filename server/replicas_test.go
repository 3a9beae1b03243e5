// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/control"
	"husk/service/address"
	"husk/store"
)

// serveEnv is a database URL. If it is set, the test binary runs a server on this database, which a
// test can kill.
const serveEnv = "HUSK_TEST_SERVE"

// serveForTests runs until it is killed, or until its parent process has ended.
func serveForTests(databaseURL string) error {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) //nolint:errcheck // ends when the parent process ends
		os.Exit(0)
	}()
	ctx := context.Background()
	st, err := store.Open(ctx, store.Config{
		URL: databaseURL, MaxConns: 6, MasterKeys: [][]byte{make([]byte, 32)}, PodRange: netip.MustParsePrefix("10.64.0.0/16"), NetworkPrefix: 24, FloatingRange: address.Range{First: netip.MustParseAddr("203.0.113.1"), Last: netip.MustParseAddr("203.0.113.254")},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	s, err := New(ctx, Config{
		Store: st, Issuer: issuer, Log: slog.New(slog.DiscardHandler), Terms: control.LeaseTerms{Heartbeat: 10 * time.Second, Lease: 30 * time.Second, Margin: 5 * time.Second, Brake: 1},
		LoginsPerSecond: 10_000, NodeCertificateLife: time.Hour,
	})
	if err != nil {
		return err
	}
	if os.Getenv(schedulesEnv) != "" {
		go scheduleForTests(ctx, s, st.Control())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return http.Serve(l, s.Handler()) //nolint:gosec // a server for tests
}

// replica is a server in a separate process.
type replica struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.Closer
	url string
}

func (s fixture) replica() *replica {
	s.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec,noctx // this binary; kill ends it
	cmd.Env = append(os.Environ(), serveEnv+"="+s.database(store.RoleOwner))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatalf("the replica printed %q: %v", url, err)
	}
	r := &replica{s.t, cmd, in, strings.TrimSpace(url)}
	s.t.Cleanup(r.kill)
	return r
}

// kill sends SIGKILL. A second call has no effect.
func (r *replica) kill() {
	_ = r.in.Close()
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// sendUntilFinal sends a request to randomly chosen servers until one returns a final response.
func sendUntilFinal(ctx context.Context, urls func() []string, send func(ctx context.Context, url string) (int, []byte, error)) (int, []byte, error) {
	for {
		all := urls()
		status, body, err := send(ctx, all[rand.IntN(len(all))]) //nolint:gosec // which one does not matter
		if err == nil && status < 500 && status != http.StatusTooManyRequests {
			return status, body, nil
		}
		if ctx.Err() != nil {
			return status, body, errors.Join(ctx.Err(), err)
		}
	}
}

func post(token, path, key string, body any) func(ctx context.Context, url string) (int, []byte, error) {
	return func(ctx context.Context, url string) (int, []byte, error) {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, bytes.NewReader(raw))
		if err != nil {
			return 0, nil, err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		response, err := io.ReadAll(resp.Body)
		return resp.StatusCode, response, err
	}
}

func TestTwoHundredRequestsFillAQuotaOfTenExactly(t *testing.T) {
	t.Parallel()
	s := open(t)
	second := s.another()
	c := s.tenant()
	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"pods": 10}}), 200)
	var accepted, refused atomic.Int64
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			url := []string{s.url, second.url}[i%2]
			request := post(c.token, "/v1/pods", fmt.Sprintf("request-%d", i), c.body(fmt.Sprintf("pod-%d", i)))
			status, body, err := request(t.Context(), url)
			for ; err == nil && status == 429; status, body, err = request(t.Context(), url) { // more requests at a time than a tenant may have
				time.Sleep(10 * time.Millisecond)
			}
			switch {
			case err != nil:
				t.Error(err)
			case status == 201:
				accepted.Add(1)
			case status == 403 && strings.Contains(string(body), string(husk.CodeQuotaExceeded)):
				refused.Add(1)
			default:
				t.Errorf("a request gets the response %d %s", status, body)
			}
		})
	}
	all.Wait()
	if accepted.Load() != 10 || refused.Load() != 190 {
		t.Errorf("%d requests were accepted and %d refused", accepted.Load(), refused.Load())
	}
	quota := as[openapi.QuotaUse](t, s.call("GET", "/v1/quota", c.token, nil), 200)
	if quota.Used.Pods != 10 || quota.Used.CPUMillis != 5000 || quota.Limits.Pods != 10 || quota.Used.Images != 1 {
		t.Errorf("the quota is %+v", quota)
	}
	// A quota below the current use stops new requests, but does not affect existing pods.
	as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+c.id.String(), s.operator(), map[string]any{"quota": map[string]any{"pods": 3}}), 200)
	pods := as[openapi.PodList](t, s.call("GET", "/v1/pods", c.token, nil), 200).Items
	if len(pods) != 10 {
		t.Errorf("there are %d pods, want 10", len(pods))
	}
	wantProblem(t, s.call("POST", "/v1/pods", c.token, c.body("more")), 403, husk.CodeQuotaExceeded, "")
}

// Two servers use one Postgres, and one of them is killed repeatedly. Each created volume exists
// once. The quota and the rate limit apply to both servers together. A watch that is opened again
// after a kill has the correct list in the end. The audit log has every change exactly once.
func TestNothingIsLostWhileOneOfTwoServersIsKilled(t *testing.T) {
	s := open(t)
	c, slow := s.tenant(), s.tenant()
	const quotaVolumes, requests, perSecond = 60, 150, 20
	for tenant, quota := range map[uuid.UUID]map[string]any{c.id: {"volumes": quotaVolumes}, slow.id: {"requestsPerSecond": perSecond}} {
		as[openapi.Tenant](t, s.call("PATCH", "/v1/admin/tenants/"+tenant.String(), s.operator(), map[string]any{"quota": quota}), 200)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var mu sync.Mutex
	victim := s.replica()
	urls := func() []string { mu.Lock(); defer mu.Unlock(); return []string{s.url, victim.url} }
	killing := make(chan struct{})
	var killer sync.WaitGroup
	var kills atomic.Int64
	killer.Go(func() {
		for {
			select {
			case <-killing:
				return
			case <-time.After(700 * time.Millisecond):
			}
			mu.Lock()
			victim.kill()
			mu.Unlock()
			kills.Add(1)
			next := s.replica()
			mu.Lock()
			victim = next
			mu.Unlock()
		}
	})

	watcher := s.watcher(ctx, c.token, urls)
	var limited, passed atomic.Int64
	began := time.Now()
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, urls()[rand.IntN(2)]+"/v1/quota", nil) //nolint:gosec // which one does not matter
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", "Bearer "+slow.token)
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					continue // the server was killed
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusOK:
					passed.Add(1)
				case http.StatusTooManyRequests:
					if resp.Header.Get("Retry-After") == "" {
						t.Error("a 429 has no Retry-After")
					}
					limited.Add(1)
				}
			}
		})
	}

	ids := sync.Map{}
	var accepted atomic.Int64
	jobs := make(chan int)
	var workers sync.WaitGroup
	for range 6 {
		workers.Go(func() {
			for i := range jobs {
				send := post(c.token, "/v1/volumes", fmt.Sprintf("volume-%d", i), map[string]any{"name": fmt.Sprintf("v%d", i), "sizeGiB": 1})
				status, first, err := sendUntilFinal(ctx, urls, send)
				if err != nil {
					t.Error(err)
					continue
				}
				if status != 201 {
					continue
				}
				accepted.Add(1)
				_, again, err := sendUntilFinal(ctx, urls, send) // any server must return the same response
				if err != nil || !bytes.Equal(first, again) {
					t.Errorf("a request gets the response %s, and its repetition %s: %v", first, again, err)
				}
				var v openapi.Volume
				if err := json.Unmarshal(first, &v); err != nil {
					t.Error(err)
				}
				ids.Store(v.ID, true)
			}
		})
	}
	for i := range requests {
		jobs <- i
		time.Sleep(25 * time.Millisecond) // so that several kills happen in the meantime
	}
	close(jobs)
	workers.Wait()
	for kills.Load() < 3 && ctx.Err() == nil { // on a slow machine, all requests may be done before a server has started
		time.Sleep(25 * time.Millisecond)
	}
	close(stop)
	load.Wait()
	took := time.Since(began)
	close(killing)
	killer.Wait()

	list := as[openapi.VolumeList](t, s.call("GET", "/v1/volumes?limit=1000", c.token, nil), 200).Items
	if len(list) != quotaVolumes || accepted.Load() != quotaVolumes {
		t.Errorf("%d volumes exist and %d requests were accepted; the quota allows %d", len(list), accepted.Load(), quotaVolumes)
	}
	for _, v := range list {
		if _, known := ids.Load(v.ID); !known {
			t.Errorf("the volume %s was not requested", v.Name)
		}
	}
	written := 0
	for _, e := range as[openapi.AuditList](t, s.call("GET", "/v1/audit?limit=1000", c.token, nil), 200).Items {
		if e.Operation == "createVolume" {
			written++
		}
	}
	if written != quotaVolumes {
		t.Errorf("the audit log has %d creations", written)
	}
	// Both servers together may pass as many requests as the bucket gets tokens, plus its burst.
	// Tokens that a killed server had taken are lost. A server may also be ahead by one batch of
	// tokens.
	most := float64(perSecond)*took.Seconds() + 2*perSecond + 2*perSecond/10
	if got := float64(passed.Load()); got > most || got < float64(perSecond)*took.Seconds()/2 || limited.Load() == 0 {
		t.Errorf("in %s %d requests passed and %d were refused; want at most %.0f passed", took, passed.Load(), limited.Load(), most)
	}
	watcher.wantAll(t, list)
	if kills.Load() < 3 {
		t.Errorf("only %d servers were killed", kills.Load())
	}
	t.Logf("%d kills in %s; %d of %d requests accepted; %d requests passed a limit of %d a second, %d refused; the watch was opened %d times",
		kills.Load(), took.Round(time.Millisecond), accepted.Load(), requests, passed.Load(), perSecond, limited.Load(), watcher.opened.Load())
}

// follower keeps a list of volumes by watching them on the server that is killed.
type follower struct {
	mu     sync.Mutex
	seen   map[uuid.UUID]openapi.Volume
	opened atomic.Int64
	done   sync.WaitGroup
}

func (s fixture) watcher(ctx context.Context, token string, urls func() []string) *follower {
	f := &follower{seen: map[uuid.UUID]openapi.Volume{}}
	ctx, cancel := context.WithCancel(ctx)
	f.done.Go(func() {
		for ctx.Err() == nil {
			f.once(ctx, urls()[1], token) // the server that is killed
		}
	})
	s.t.Cleanup(func() { cancel(); f.done.Wait() })
	return f
}

func (f *follower) once(ctx context.Context, url, token string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/volumes?watch=true", nil)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return
	}
	defer resp.Body.Close()
	f.opened.Add(1)
	f.mu.Lock()
	f.seen = map[uuid.UUID]openapi.Volume{} // a watch starts with the whole list
	f.mu.Unlock()
	lines := bufio.NewScanner(resp.Body)
	kind := ""
	for lines.Scan() {
		if k, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = k
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || kind == "synced" {
			continue
		}
		var v openapi.Volume
		if json.Unmarshal([]byte(data), &v) != nil {
			return
		}
		f.mu.Lock()
		if kind == "deleted" {
			delete(f.seen, v.ID)
		} else {
			f.seen[v.ID] = v
		}
		f.mu.Unlock()
	}
}

// wantAll waits until the watch has the same volumes as the list.
func (f *follower) wantAll(t *testing.T, list []openapi.Volume) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		f.mu.Lock()
		missing := 0
		for _, v := range list {
			if _, ok := f.seen[v.ID]; !ok {
				missing++
			}
		}
		extra := len(f.seen) - (len(list) - missing)
		f.mu.Unlock()
		if missing == 0 && extra == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the watch lacks %d volumes and shows %d that do not exist", missing, extra)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
