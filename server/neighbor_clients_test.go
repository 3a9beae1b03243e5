// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"husk"
	"husk/session"
	"husk/session/ws"
)

// attackOrder is what the process of the clients needs to know.
type attackOrder struct {
	URL, Token, ID, Secret, Image string
	Pod                           uuid.UUID
	Parts                         string
}

// attackCounts is what the clients have done.
type attackCounts struct{ Watches, Events, Usage, Logins, Creates, Logs, Sessions, Bytes, Refused atomic.Int64 }

// attackEnv names the variable with the order for the process.
const attackEnv = "HUSK_TEST_ATTACK"

// attackForTests runs the clients until the standard input ends.
func attackForTests(order string) error {
	c := attackClients{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	if err := json.Unmarshal([]byte(order), &c.attackOrder); err != nil {
		return err
	}
	stop := c.begin()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	stop()
	fmt.Println(&c.counts)
	return nil
}

type attackClients struct {
	attackOrder
	client *http.Client
	counts attackCounts
}

// String says what the clients have done.
func (c *attackCounts) String() string {
	return fmt.Sprintf("%d watches with %d MiB of events, %d reports of usage, %d logins, %d creations, %d logs, %d sessions, %d MiB of streams, %d refusals",
		c.Watches.Load(), c.Events.Load()>>20, c.Usage.Load(), c.Logins.Load(), c.Creates.Load(), c.Logs.Load(), c.Sessions.Load(), c.Bytes.Load()>>20, c.Refused.Load())
}

// does reports whether a part of the attack takes place.
func (o attackOrder) does(part string) bool {
	return o.Parts == "" || strings.Contains(","+o.Parts+",", ","+part+",")
}

// begin starts the clients. It returns a function that ends them.
func (a *attackClients) begin() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	repeat := func(part string, clients int, do func(ctx context.Context)) {
		if !a.does(part) {
			return
		}
		for range clients {
			running.Go(func() {
				for ctx.Err() == nil {
					do(ctx)
				}
			})
		}
	}
	from := time.Now().Add(-399 * 24 * time.Hour).UTC().Format(time.RFC3339)
	repeat("usage", 16, func(ctx context.Context) {
		if a.get(ctx, "/v1/usage?groupBy=object&from="+from, &a.counts.Usage) != nil {
			pause(ctx)
		}
	})
	repeat("logins", 8, a.logIn)
	repeat("creates", 4, a.createAndDelete)
	for i := range attackTries {
		if a.does("watches") {
			path := []string{"/v1/pods?watch=true", "/v1/events?watch=true"}[i%2]
			running.Go(func() { a.stream(ctx, path, &a.counts.Watches, &a.counts.Events) })
		}
		if a.does("logs") {
			running.Go(func() {
				a.stream(ctx, "/v1/pods/"+a.Pod.String()+"/logs?follow=true", &a.counts.Logs, &a.counts.Bytes)
			})
		}
		if a.does("sessions") {
			running.Go(func() { a.session(ctx) })
		}
	}
	return func() { cancel(); running.Wait() }
}

// pause waits for a few seconds after a refusal.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second + rand.N(4*time.Second)): //nolint:gosec // jitter needs no secrecy
	}
}

func (a *attackClients) get(ctx context.Context, path string, count *atomic.Int64) error {
	resp, err := a.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	count.Add(1)
	return err
}

// send sends a request. An error also stands for a refusal.
func (a *attackClients) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.URL+path, reader)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+a.Token)
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	resp, err := a.client.Do(r)
	if err == nil && resp.StatusCode >= 400 {
		resp.Body.Close()
		a.counts.Refused.Add(1)
		err = fmt.Errorf("%s", resp.Status)
	}
	return resp, err
}

func (a *attackClients) logIn(ctx context.Context) {
	form := url.Values{"grant_type": {grantClientCredentials}, "client_id": {a.ID}, "client_secret": {a.Secret}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	resp, err := a.client.Do(r)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		a.counts.Refused.Add(1)
		pause(ctx)
		return
	}
	a.counts.Logins.Add(1)
}

// createAndDelete creates a pod that is about as large as a pod can be.
func (a *attackClients) createAndDelete(ctx context.Context) {
	pod := tenancy{image: husk.Image{Reference: a.Image}}.body("large-" + uuid.NewString())
	files := []any{}
	for i := range 2 {
		files = append(files, map[string]any{"path": fmt.Sprintf("/data/%d", i), "content": strings.Repeat("0123456789abcdef", 15<<10)})
	}
	pod["spec"].(map[string]any)["containers"] = []any{map[string]any{"name": "main", "image": a.Image, "files": files}} //nolint:forcetypeassert // see body
	resp, err := a.send(ctx, http.MethodPost, "/v1/pods", pod, http.Header{"Idempotency-Key": {uuid.NewString()}})
	if err != nil {
		pause(ctx)
		return
	}
	defer resp.Body.Close()
	var made struct{ ID string }
	if json.NewDecoder(resp.Body).Decode(&made) != nil {
		return
	}
	a.counts.Creates.Add(1)
	for ctx.Err() == nil {
		gone, err := a.send(ctx, http.MethodDelete, "/v1/pods/"+made.ID, nil, nil)
		if err == nil {
			gone.Body.Close()
			return
		}
		pause(ctx)
	}
}

// stream opens a stream and reads it to its end.
func (a *attackClients) stream(ctx context.Context, path string, count, bytes *atomic.Int64) {
	for ctx.Err() == nil {
		resp, err := a.send(ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			pause(ctx)
			continue
		}
		count.Add(1)
		buf := make([]byte, 32<<10)
		for err == nil {
			var n int
			n, err = resp.Body.Read(buf)
			bytes.Add(int64(n))
		}
		resp.Body.Close()
	}
}

// session opens a session and sends as fast as the pod echoes.
func (a *attackClients) session(ctx context.Context) {
	for ctx.Err() == nil {
		h := http.Header{"Authorization": {"Bearer " + a.Token}}
		conn, _, err := ws.Dial(ctx, &http.Client{Transport: http.DefaultTransport}, a.URL+"/v1/pods/"+a.Pod.String()+"/exec?command=cat&stdin=true", h)
		if err != nil {
			a.counts.Refused.Add(1)
			pause(ctx)
			continue
		}
		a.counts.Sessions.Add(1)
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		data := make([]byte, 16<<10)
		for conn.Send(session.Stdin, data) == nil {
			f, err := conn.Receive()
			if err != nil {
				break
			}
			a.counts.Bytes.Add(int64(len(f.Payload)))
		}
		stop()
		_ = conn.Close()
	}
}
