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

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	CgoFiles   []string
	Standard   bool
	DepOnly    bool
	Error      *struct{ Err string }
}

// listed returns our packages, and every package that they depend on.
func listed(t *testing.T) (ours []pkg, all map[string]pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Imports,Deps,CgoFiles,Standard,DepOnly,Error", "./...")
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

// house names the part of the house that a package belongs to: the first element of its path.
func house(path string) string {
	part, _, _ := strings.Cut(strings.TrimPrefix(path, "husk/"), "/")
	return part // husk itself is "husk"
}

// arrows says which parts of the house each part may import, itself aside. Everything may import the vocabulary except where noted.
// docs/architecture.md draws the same; a new arrow is a decision, so it is made here too.
var arrows = map[string][]string{
	"husk":       {},
	"openapi":    {"husk"},
	"migrations": {},
	"scheduler":  {},
	"simulate":   {"scheduler"},
	"guest":      {"session"}, // the frames of sessions, which imports nothing
	"session":    {},
	"kernel":     {},
	"pki":        {},
	"registry":   {"egress"},
	"egress":     {},
	"strictjson": {},
	"idtoken":    {"egress", "strictjson"},
	"ceph":       {"husk"},
	"store":      {"husk", "migrations"},
	"server":     {"husk", "openapi", "store", "scheduler", "ceph", "registry", "egress", "idtoken", "strictjson", "pki", "session", "web"},
	"nodeagent":  {"husk", "openapi", "guest", "ceph", "pki", "session"},
	"web":        {},
	"dev":        {},
	"build":      nil, // what is built, not part of the house
	"test":       nil, // tests may use everything
	"cmd":        nil, // commands put everything together
}

func TestArrowsPointOneWay(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for _, p := range ours {
		from := house(p.ImportPath)
		may, known := arrows[from]
		if !known {
			t.Errorf("%s is a new part of the house; say in the table what it may import", p.ImportPath)
			continue
		}
		for _, path := range p.Imports {
			to := house(path)
			if path != "husk" && !strings.HasPrefix(path, "husk/") || to == from {
				continue
			}
			if may != nil && !slices.Contains(may, to) {
				t.Errorf("%s imports %s", p.ImportPath, path)
			}
			if to == "cmd" || to == "test" {
				t.Errorf("%s imports %s, which nothing may", p.ImportPath, path)
			}
		}
	}
}

func TestEachForeignWorldHasOneDoor(t *testing.T) {
	t.Parallel()
	ours, _ := listed(t)
	for world, doors := range map[string][]string{
		"github.com/jackc/":            {"husk/store", "husk/store/db", "husk/dev", "husk/dev/devtest"},
		"github.com/ceph/go-ceph":      {"husk/ceph"},
		"libvirt.org/go/":              {"husk/nodeagent/vm"},
		"github.com/vishvananda/":      {"husk/nodeagent/network"},
		"github.com/google/nftables":   {"husk/nodeagent/network"},
		"github.com/golang-jwt/":       {"husk/server", "husk/nodeagent", "husk/idtoken"},
		"github.com/go-jose/":          {"husk/idtoken", "husk/test/oidcprovider"},
		"github.com/zitadel/":          {"husk/test/oidcprovider"},
		"github.com/go-chi/":           {"husk/server", "husk/openapi", "husk/nodeagent"},
		"github.com/prometheus/client": {"husk/server", "husk/nodeagent", "husk/cmd/huskd"},
		"github.com/spf13/":            {"husk/cmd/husk", "husk/cmd/huskd"},
		"github.com/coder/websocket":   {"husk/session/ws"},
	} {
		for _, p := range ours {
			for _, path := range p.Imports {
				if strings.HasPrefix(path, world) && !slices.Contains(doors, p.ImportPath) {
					t.Errorf("%s imports %s; only %s may", p.ImportPath, path, strings.Join(doors, " and "))
				}
			}
		}
	}
}

// What runs on a tenant's machine or inside a pod is small and pure Go; the scheduler is a library that anybody may call.
func TestWhatMustBePureGoIs(t *testing.T) {
	t.Parallel()
	ours, all := listed(t)
	for _, p := range ours {
		if !slices.Contains([]string{"husk", "husk/openapi", "husk/scheduler", "husk/guest", "husk/session", "husk/session/ws", "husk/pki", "husk/cmd/husk", "husk/cmd/husk-init"}, p.ImportPath) {
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

func TestTheSchedulerDoesNothingButThink(t *testing.T) {
	t.Parallel()
	_, all := listed(t)
	for _, path := range all["husk/scheduler"].Imports {
		for _, world := range []string{"net", "os", "time", "math/rand", "math/rand/v2", "crypto/rand", "database/sql", "log", "log/slog", "context"} {
			if path == world || strings.HasPrefix(path, world+"/") {
				t.Errorf("the scheduler imports %s", path)
			}
		}
	}
}

// What decides who is let in is read in one place, and made of the standard library alone.
func TestTheAuthorityIsMadeOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	_, all := listed(t)
	for _, path := range all["husk/pki"].Imports {
		if !all[path].Standard {
			t.Errorf("pki imports %s", path)
		}
	}
}
