// SPDX-License-Identifier: Apache-2.0

package oidcprovider

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func claimsOf(t *testing.T, raw string) jwt.MapClaims {
	t.Helper()
	var claims jwt.MapClaims
	if _, _, err := jwt.NewParser().ParseUnverified(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestBothFlowsReturnTheSameUser(t *testing.T) {
	t.Parallel()
	p := Start(t)
	code, err := IDToken(t.Context(), p.Issuer, Client, Developer)
	if err != nil {
		t.Fatal(err)
	}
	device, err := DeviceIDToken(t.Context(), p.Issuer, Client, Developer)
	if err != nil {
		t.Fatal(err)
	}
	for flow, raw := range map[string]string{"code": code, "device": device} {
		got := claimsOf(t, raw)
		want := jwt.MapClaims{
			"iss": p.Issuer, "aud": []any{Client}, "sub": "subject-developer", "email": "developer@example.com", "email_verified": true,
			"preferred_username": "developer", "name": "The developer", "groups": []any{"husk-developers", "everybody"},
		}
		for claim := range got {
			if _, ok := want[claim]; !ok {
				delete(got, claim)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s flow (-want +got):\n%s", flow, diff)
		}
	}
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	p := Start(t)
	u := Owner
	u.Password = Developer.Password
	for flow, get := range map[string]func() (string, error){
		"code":   func() (string, error) { return IDToken(t.Context(), p.Issuer, Client, u) },
		"device": func() (string, error) { return DeviceIDToken(t.Context(), p.Issuer, Client, u) },
	} {
		if _, err := get(); err == nil || !strings.Contains(err.Error(), "not logged in") {
			t.Errorf("%s: %v", flow, err)
		}
	}
}

func TestTheCommandServesUntilItsInputEnds(t *testing.T) {
	t.Parallel()
	program := t.TempDir() + "/provider"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	issuer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	issuer = strings.TrimSpace(issuer)
	before, err := IDToken(t.Context(), issuer, OtherClient, Stranger)
	if err != nil {
		t.Fatal(err)
	}
	if err := Rotate(t.Context(), issuer); err != nil {
		t.Fatal(err)
	}
	after, err := IDToken(t.Context(), issuer, OtherClient, Stranger)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := claimsOf(t, after)["groups"]; ok || claimsOf(t, after)["email_verified"] == true {
		t.Errorf("the stranger has claims %v", claimsOf(t, after))
	}
	if a, _, _ := strings.Cut(before, "."); strings.HasPrefix(after, a) {
		t.Error("the same key signed before and after")
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the provider ends with %v", err)
	}
}
