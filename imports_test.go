// SPDX-License-Identifier: Apache-2.0

package husk_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// pkg is go list's description of a package.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
	Deps       []string
	Standard   bool
	DepOnly    bool
	Error      *struct{ Err string }
}

// modulePath is the path of this module. The rules below call it husk.
func modulePath(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m").Output()
	if err != nil {
		t.Fatalf("go list -m: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// listed returns the packages of this module, and all packages including those that they depend on.
func listed(t *testing.T) (ours []pkg, all map[string]pkg) {
	t.Helper()
	module := modulePath(t)
	called := func(path string) string {
		if path == module || strings.HasPrefix(path, module+"/") {
			return "husk" + strings.TrimPrefix(path, module)
		}
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Dir,GoFiles,CgoFiles,Imports,Deps,Standard,DepOnly,Error", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all = map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.ImportPath = called(p.ImportPath)
		for _, paths := range [][]string{p.Imports, p.Deps} {
			for i := range paths {
				paths[i] = called(paths[i])
			}
		}
		all[p.ImportPath] = p
		if p.ImportPath == "husk" || strings.HasPrefix(p.ImportPath, "husk/") {
			ours = append(ours, p)
		}
	}
	if len(ours) < 10 {
		t.Fatalf("go list knows only %d packages of ours", len(ours))
	}
	return ours, all
}

// importRules has an entry for each part of the project: the packages of this module that the part
// may import. A part is a folder with everything below it, except deeper folders that have their
// own entry. Each part may import itself. docs/architecture.md shows the same rules in a diagram. A
// new import between parts needs a change here.
var importRules = map[string][]string{
	"husk":    {"signals"},
	"service": {"husk"},
	"ingress": {"husk"},
	// The ingress process is Caddy, which nothing else imports.
	"ingress/proxy": {"ingress", "server/held", "store"},
	"signals":       {},
	"openapi":       {"husk"},
	"client":        {"husk", "openapi", "rbddiff", "session", "version"},
	"cli":           {"husk", "openapi", "client", "rbddiff", "session", "version"},
	"cmd/husk":      {"cli"},
	"version":       {},
	"migrations":    {},
	"scheduler":     {},
	"simulate":      {"scheduler"},
	"guest":         {"session", "signals", "limits"},
	"limits":        {},
	"session":       {},
	"kernel":        {"guest"},
	"pki":           {},
	"registry":      {"egress"},
	"egress":        {},
	"strictjson":    {},
	"idtoken":       {"egress", "strictjson"},
	"ceph":          {"husk", "luks", "route"},
	"links":         {},
	"luks":          {},
	"ovsdb":         {},
	"route":         {},
	"rbddiff":       {},
	"store":         {"husk", "ingress", "luks", "migrations", "route", "service"},
	"web":           {},

	"dev":         {"dev/balance", "dev/fabric", "dev/host"},
	"dev/balance": {},
	"dev/control": {"dev", "dev/fabric"},
	"dev/fabric":  {"links"},
	"dev/host":    {},

	// No package below server imports server. Of each other, they import only request, agents and held.
	"server": {
		"husk", "openapi", "store", "ceph", "egress", "ingress", "pki", "registry", "service", "session", "strictjson", "version", "web",
		"server/agents", "server/auth", "server/control", "server/deliver", "server/exec", "server/held", "server/metrics", "server/network", "server/podspec",
		"server/represent", "server/request", "server/transfer", "server/watch", "server/zones",
	},
	"server/agents":    {"husk", "openapi", "route", "store", "session"},
	"server/auth":      {"husk", "openapi", "store", "egress", "idtoken", "pki", "session", "strictjson", "server/request"},
	"server/control":   {"husk", "luks", "store", "scheduler", "ceph", "egress", "registry", "server/network"},
	"server/deliver":   {"husk", "ceph", "store"},
	"server/exec":      {"husk", "openapi", "store", "session", "signals", "server/agents", "server/held", "server/request"},
	"server/held":      {"husk"},
	"server/metrics":   {"husk", "openapi", "store", "version", "server/agents", "server/request"},
	"server/network":   {"husk", "ovsdb", "service", "store"},
	"server/podspec":   {"husk", "limits"},
	"server/represent": {"openapi"},
	"server/request":   {"husk", "openapi", "store"},
	"server/zones":     {"store", "service"},
	"server/transfer":  {"husk", "openapi", "ceph", "rbddiff", "store", "server/held", "server/request"},
	"server/watch":     {"husk", "store", "server/held", "server/request"},

	"nodeagent": {"husk", "openapi", "guest", "limits", "links", "ovsdb", "pki", "route", "service", "session", "signals", "version"},

	"changelog": {},
	"deploy":    {},

	"build": nil, // build output, not part of the project
	"test":  nil, // tests may use everything
	"cmd":   nil, // commands may import everything
}

// part returns the part that a package belongs to: the longest folder above it that has a rule.
func part(path string) (string, bool) {
	path = strings.TrimPrefix(path, "husk/")
	for {
		if _, known := importRules[path]; known {
			return path, true
		}
		i := strings.LastIndex(path, "/")
		if i < 0 {
			return path, false
		}
		path = path[:i]
	}
}

func TestImportsFollowTheRules(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for _, p := range ours {
		from, known := part(p.ImportPath)
		if !known {
			t.Errorf("%s is a new part of the project; add the packages that it may import to the table", p.ImportPath)
			continue
		}
		allowed := importRules[from]
		for _, path := range p.Imports {
			if path != "husk" && !strings.HasPrefix(path, "husk/") {
				continue
			}
			to, _ := part(path)
			if to == from {
				continue
			}
			if allowed != nil && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s, which the table does not allow", p.ImportPath, path)
			}
			if (to == "cmd" || to == "test") && from != "test" {
				t.Errorf("%s imports %s, which nothing may", p.ImportPath, path)
			}
		}
	}
}

// Only these packages may import these libraries, so that a library can be replaced in one place.
func TestEachLibraryIsImportedInOnePlace(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for library, importers := range map[string][]string{
		"github.com/jackc/":          {"husk/store", "husk/migrations", "husk/dev"},
		"github.com/ceph/go-ceph":    {"husk/ceph"},
		"libvirt.org/go/":            {"husk/nodeagent/vm"},
		"github.com/vishvananda/":    {"husk/links", "husk/nodeagent/network", "husk/dev/fabric", "husk/dev/host"},
		"github.com/google/nftables": {"husk/nodeagent/network"},
		"github.com/ovn-kubernetes/": {"husk/ovsdb", "husk/server/network", "husk/nodeagent/network"},
		"github.com/golang-jwt/":     {"husk/server/auth", "husk/idtoken"},
		"github.com/go-jose/":        {"husk/idtoken", "husk/test/oidcprovider"},
		"github.com/zitadel/":        {"husk/test/oidcprovider"},
		"github.com/go-chi/":         {"husk/server", "husk/openapi", "husk/nodeagent"},
		"github.com/prometheus/client": {
			"husk/server", "husk/server/auth", "husk/server/control", "husk/server/exec", "husk/server/metrics", "husk/nodeagent", "husk/ingress/proxy", "husk/cmd/huskd",
		},
		"github.com/caddyserver/":    {"husk/ingress/proxy"},
		"github.com/spf13/":          {"husk/cli", "husk/cli/parse", "husk/cmd/huskd", "husk/test/docs"},
		"github.com/coder/websocket": {"husk/session/ws"},
	} {
		for _, p := range ours {
			for _, path := range p.Imports {
				allowed := slices.ContainsFunc(importers, func(i string) bool { return p.ImportPath == i || strings.HasPrefix(p.ImportPath, i+"/") })
				if strings.HasPrefix(path, library) && !allowed {
					t.Errorf("%s imports %s; only %s may", p.ImportPath, path, strings.Join(importers, " and "))
				}
			}
		}
	}
}

// Code that runs on a user's machine or inside a pod is small and pure Go. The scheduler is pure Go too, because it is a library for any caller.
func TestPurePackagesDoNotUseCgo(t *testing.T) {
	t.Parallel()
	ours, all := listed(t)
	for _, p := range ours {
		if !slices.Contains([]string{"husk", "husk/openapi", "husk/version", "husk/scheduler", "husk/guest", "husk/session", "husk/session/ws", "husk/pki", "husk/client", "husk/client/archive", "husk/client/oidc", "husk/cli", "husk/cmd/husk", "husk/cmd/husk-init"}, p.ImportPath) {
			continue
		}
		for _, dep := range append(p.Deps, p.ImportPath) {
			if d := all[dep]; len(d.CgoFiles) > 0 && !d.Standard {
				t.Errorf("%s needs cgo for %s", p.ImportPath, dep)
			}
		}
	}
}

func TestTheGuestIsSmall(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for _, p := range ours {
		if p.ImportPath != "husk/cmd/husk-init" {
			continue
		}
		for _, dep := range p.Deps {
			if dep == "net/http" || dep == "crypto/tls" || dep == "husk" || dep == "husk/openapi" {
				t.Errorf("husk-init carries %s into every pod", dep)
			}
		}
	}
}

func TestTheSchedulerIsPure(t *testing.T) {
	t.Parallel()
	_, all := listed(t)
	for _, path := range all["husk/scheduler"].Imports {
		for _, effect := range []string{"net", "os", "time", "math/rand", "math/rand/v2", "crypto/rand", "database/sql", "log", "log/slog", "context"} {
			if path == effect || strings.HasPrefix(path, effect+"/") {
				t.Errorf("the scheduler imports %s", path)
			}
		}
	}
}

// The package that authenticates callers by certificate imports only the standard library.
func TestTheAuthorityUsesTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	_, all := listed(t)
	for _, path := range all["husk/pki"].Imports {
		if !all[path].Standard {
			t.Errorf("pki imports %s", path)
		}
	}
}
