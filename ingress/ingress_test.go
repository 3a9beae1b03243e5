// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"errors"
	"testing"
	"time"

	"husk"
)

func TestAnIngressThatCouldNotWorkIsRefused(t *testing.T) {
	t.Parallel()
	good := func() Ingress {
		return Ingress{Rules: []Rule{
			{Host: "www.example.com", Paths: []Path{{Service: "web", Port: 80}, {Path: "/api", Service: "api", Port: 80}}}, {Host: "example.com", Paths: []Path{{Service: "web", Port: 80}}},
		}}
	}
	for field, change := range map[string]func(*Ingress){
		"":                       func(*Ingress) {},
		"rules[1].host":          func(i *Ingress) { i.Rules[1].Host = "www.example.com" },
		"rules[0].host":          func(i *Ingress) { i.Rules[0].Host = "api.husk.example.com" },
		"rules[0].paths[1].path": func(i *Ingress) { i.Rules[0].Paths[1].Path = "/" },
		"rules[0].paths[0].path": func(i *Ingress) { i.Rules[0].Paths[0].Path = "/a//b" },
	} {
		i := good()
		change(&i)
		got := ""
		if refused, ok := errors.AsType[*husk.Error](i.Complete().Check([]string{"husk.example.com"})); ok {
			got = refused.Field
		}
		if got != field {
			t.Errorf("the field %q is refused, want %q", got, field)
		}
	}
	both := good()
	both.Rules[0].Paths = append(both.Rules[0].Paths, Path{Path: "/api", Exact: true, Service: "web", Port: 80}, Path{Path: "/api/", Exact: true, Service: "web", Port: 80})
	if err := both.Complete().Check(nil); err != nil {
		t.Errorf("a path, and the same one as an exact one: %v", err)
	}
	both.Rules[0].Paths = append(both.Rules[0].Paths, Path{Path: "/api", Exact: true, Service: "api", Port: 80})
	if both.Complete().Check(nil) == nil {
		t.Error("the same exact path is accepted twice")
	}
	twice := good()
	twice.Rules[0].Paths[0].Path = "/api/"
	if twice.Complete().Check(nil) == nil {
		t.Error("the same path is accepted twice, with and without a slash at the end")
	}
}

func TestTheStateOfACertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	past, future := now.Add(-time.Hour), now.Add(time.Hour)
	for want, got := range map[State]Host{
		Pending: HostOf("a", nil, "", now), Ready: HostOf("a", &future, "the renewal failed", now), Failed: HostOf("a", &past, "no", now),
	} {
		if got.State != want {
			t.Errorf("the state is %s, want %s", got.State, want)
		}
	}
}
