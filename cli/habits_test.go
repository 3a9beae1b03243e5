// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"husk/cli/exit"
	"husk/cli/habits"
)

// recorded runs husk with an API that has one object of each kind, and returns what was printed and which requests were sent.
func recorded(t *testing.T, args ...string) (code int, out, errs string, requests []string) {
	t.Helper()
	var mu sync.Mutex
	code, out, errs = call(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.Method+" "+r.URL.String())
		mu.Unlock()
		switch {
		case r.Method != http.MethodGet:
			problemOf(w, http.StatusConflict, "conflict", "", "the object's state does not allow this")
		case r.URL.Query().Get("watch") == "true":
			problemOf(w, http.StatusForbidden, "forbidden", "", "the role is too low")
		case strings.HasSuffix(r.URL.Path, "/whoami"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"kind":"tenant","name":"ci","id":"b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303"}`)
		case strings.HasSuffix(r.URL.Path, "/logs"), strings.HasSuffix(r.URL.Path, "/exec"):
			problemOf(w, http.StatusConflict, "conflict", "", "the pod is not running")
		case strings.HasSuffix(r.URL.Path, "/b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, object("web", "b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303", 20))
		case r.URL.Query().Get("name") == "web" || r.URL.Query().Has("reference"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"items":[`+object("web", "b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303", 20)+`]}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"items":[`+object("web", "b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303", 20)+`,`+object("db", "92994fef-6455-4e73-a447-69fc2fe37846", 3)+`]}`)
		}
	}, args...)
	return code, out, errs, requests
}

func object(name, id string, size int) string {
	return fmt.Sprintf(`{"id":%q,"name":%q,"reference":%q,"kind":"config","sizeGiB":%d,"labels":{},"createdAt":"2026-03-01T12:00:00Z","state":"Ready","keys":[],"ports":[],
		"spec":{"resources":{"cpuMillis":500,"memoryMiB":128},"containers":[{"name":"main","image":"a"}]},
		"status":{"phase":"Running","containers":[],"conditions":[]},"allocated":{},"capacity":{},"reason":"Ready","objectId":%q}`, id, name, name, size, id)
}

// Each habit does what husk's own command does: it sends the same requests and ends with the same exit code.
func TestHabitsOfDockerAndKubectlWork(t *testing.T) {
	if len(habits.Table) < 40 {
		t.Errorf("the table has %d habits", len(habits.Table))
	}
	typed := map[string]bool{}
	for _, h := range habits.Table {
		if typed[h.Typed] {
			t.Errorf("%q is twice in the table", h.Typed)
		}
		typed[h.Typed] = true
		start := time.Now()
		theirCode, theirOut, theirErrs, theirs := recorded(t, strings.Fields(h.Typed)[1:]...)
		ourCode, ourOut, _, ours := recorded(t, strings.Fields(h.Ours)[1:]...)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q took %s", h.Typed, took)
		}
		if ourCode == exit.Usage || ourCode != theirCode {
			t.Errorf("%q exits with %d, %q with %d: %s", h.Typed, theirCode, h.Ours, ourCode, theirErrs)
		}
		if len(ours) == 0 && !strings.Contains(h.Ours, "context") {
			t.Errorf("%q sends no request: %s", h.Ours, theirErrs)
		}
		if diff := cmp.Diff(ours, theirs); diff != "" {
			t.Errorf("%q and %q send other requests:\n%s", h.Typed, h.Ours, diff)
		}
		if ours := strings.Fields(h.Ours); ours[1] != "whoami" && ourOut != theirOut { // it prints the address of the API
			t.Errorf("%q prints %q, and %q prints %q", h.Typed, theirOut, h.Ours, ourOut)
		}
	}
}

func TestVerbsWithoutACounterpartSayWhatToDo(t *testing.T) {
	for _, typed := range []string{"build .", "scale --replicas 3", "compose up", "patch pod web", "pause web"} {
		code, _, errs, requests := recorded(t, strings.Fields(typed)...)
		verb, _, _ := strings.Cut(typed, " ")
		if code != exit.Usage || len(requests) > 0 || !strings.Contains(errs, "husk has no command \""+verb+"\": ") {
			t.Errorf("%s exits with %d: %s", typed, code, errs)
		}
	}
}

func TestOurOwnCommandLinesStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "pods", "run -d nginx ps", "exec web ls", "delete pod/web", "rm pod/web", "rm pods web", "rm -f web.yaml", "volume create data --size 1Gi", "--context a pods",
		"config create web LEVEL=info", "events --watch", "get pods", "pods ps", "top web", "top pod-1 web", "label pod a=b c=d", "logs web -f", "label web a=b", "describe web",
	} {
		args := strings.Fields(line)
		got, err := habits.Translate(args)
		if line == "pods ps" { // a list, although a pod could have this name
			args = []string{"get", "pod"}
		}
		if err != nil || !slices.Equal(got, args) {
			t.Errorf("%q becomes %q: %v", line, got, err)
		}
	}
}

func TestListsPrintIDsAndTemplates(t *testing.T) {
	web, db := "b7d9f3a2-14c8-4e0b-8f6d-5a1c7e92d303", "92994fef-6455-4e73-a447-69fc2fe37846"
	for line, want := range map[string]string{
		"volumes -q":                           web + "\n" + db + "\n",
		"-q ps":                                web + "\n" + db + "\n",
		"volumes -q --sort-by .sizeGiB":        db + "\n" + web + "\n",
		"volumes -q --sort-by {.name}":         db + "\n" + web + "\n",
		"volumes -o name --sort-by .sizeGiB":   "volume/db\nvolume/web\n",
		"volumes -o jsonpath={.items[*].name}": "web db\n",
		`volumes -o jsonpath={range.items[*]}{.name}{"\t"}{.sizeGiB}{"\n"}{end}`:    "web\t20\ndb\t3\n\n",
		"volumes -o custom-columns=NAME:.name,SIZE:.sizeGiB,NONE:.x":                "NAME   SIZE   NONE\nweb    20     <none>\ndb     3      <none>\n",
		"volumes -o custom-columns=NAME:.name --no-headers --sort-by .sizeGiB":      "db\nweb\n",
		"volumes web -o jsonpath={.id}":                                             web + "\n",
		"pods -o jsonpath={.items[0].spec.containers[0].image}{.items[-1]['name']}": "adb\n",
	} {
		code, out, errs, _ := recorded(t, strings.Fields(strings.ReplaceAll(line, "{range.", "{range ."))...)
		if strings.Contains(line, "range") { // the line has a space in one argument
			code, out, errs, _ = recorded(t, "volumes", "-o", strings.ReplaceAll(strings.Fields(line)[2], "{range.", "{range ."))
		}
		if code != exit.OK || out != want {
			t.Errorf("%s exits with %d and prints %q, want %q: %s", line, code, out, want, errs)
		}
	}
	for _, bad := range []string{"jsonpath={.a", "jsonpath={.a[}", "custom-columns=NAME"} {
		if code, _, errs, requests := recorded(t, "volumes", "-o", bad); code != exit.Usage || len(requests) > 0 {
			t.Errorf("-o %s exits with %d: %s", bad, code, errs)
		}
	}
}

func TestFlagsOfDockerAndKubectl(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"logs -n all web":              {exit.Conflict, "not running"},
		"logs --tail 3 --previous web": {exit.Conflict, "not running"},
		"logs -l app=web":              {exit.Conflict, "not running"},
		"logs web -l app=web":          {exit.Usage, "with -l"},
		"logs -n x web":                {exit.Usage, "neither a number"},
		"run --restart always:3 nginx": {exit.Usage, "only on-failure"},
		"run --gpus all nginx":         {exit.Usage, "no GPUs"},
		"run --entrypoint= nginx":      {exit.Usage, "nothing to run"},
		"quota -o name":                {exit.OK, ""},
	} {
		code, out, errs, _ := recorded(t, strings.Fields(line)...)
		if code != want.code || !strings.Contains(errs, want.says) {
			t.Errorf("husk %s exits with %d, want %d and %q: %s", line, code, want.code, want.says, errs)
		}
		if strings.HasPrefix(line, "quota") {
			for name := range strings.Lines(out) {
				if strings.Contains(strings.TrimSpace(name), " ") {
					t.Errorf("the name %q has a space", name)
				}
			}
		}
	}
}
