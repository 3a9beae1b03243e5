package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk/openapi"
)

func TestASizeIsAWholeNumberOfItsUnit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, unit string
		want       int
	}{
		{"256Mi", "Mi", 256},
		{"1Gi", "Mi", 1024},
		{"1.5Gi", "Mi", 1536},
		{"0.5Ti", "Gi", 512},
		{"10Gi", "Gi", 10},
		{"2048Ki", "Mi", 2},
		{"256m", "Mi", 256},
		{"1g", "Mi", 1024},
	} {
		got, err := parseSize("--memory", c.text, c.unit)
		if err != nil || got != c.want {
			t.Errorf("%s in %s: %d, %v; want %d", c.text, c.unit, got, err, c.want)
		}
	}
	for _, text := range []string{"", "256", "256M", "Mi", "-1Mi", "+1Mi", "1e3Mi", "1/2Gi", "0Mi", "1.5Mi", "1..5Gi", "1 Gi", "0x10Mi", "99999999999999999999Ti", "NaNGi"} {
		if got, err := parseSize("--memory", text, "Mi"); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--memory") {
			t.Errorf("%q: %d, %v; want a usage error that names the flag", text, got, err)
		}
	}
}

func TestCPUsAreCoresOrThousandths(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"0.5": 500, "2": 2000, "500m": 500, ".25": 250, "1.001": 1001} {
		if got, err := parseCPU(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "0", "-1", "1.0001", "0.5m", "1,5", "two", "1e3"} {
		if got, err := parseCPU(text); exitCode(err) != exitUsage {
			t.Errorf("%q: %d, %v; want a usage error", text, got, err)
		}
	}
}

func TestCoresArePrintedAsTheyAreTyped(t *testing.T) {
	t.Parallel()
	for millis, want := range map[int]string{500: "0.5", 1000: "1", 1250: "1.25", 50: "0.05", 10000: "10"} {
		if got := cores(millis); got != want {
			t.Errorf("%d: %s, want %s", millis, got, want)
		}
	}
}

func TestVariablesComeFromTheLineOrTheEnvironment(t *testing.T) {
	t.Setenv("HUSK_TEST_VALUE", "from here")
	got, err := parseEnv([]string{"A=b", "EMPTY=", "EQUALS=a=b", "HUSK_TEST_VALUE"})
	if err != nil {
		t.Fatal(err)
	}
	want := []openapi.EnvVar{{Name: "A", Value: "b"}, {Name: "EMPTY", Value: ""}, {Name: "EQUALS", Value: "a=b"}, {Name: "HUSK_TEST_VALUE", Value: "from here"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, item := range []string{"=b", "", "HUSK_TEST_NOT_SET"} {
		if _, err := parseEnv([]string{item}); exitCode(err) != exitUsage {
			t.Errorf("%q: %v; want a usage error", item, err)
		}
	}
}

func TestAMountNamesAVolumeAndAPath(t *testing.T) {
	t.Parallel()
	got, err := parseMounts([]string{"data:/data", "data:/etc/conf:ro", "logs:/var/log:rw"})
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{{"data", "/data", false}, {"data", "/etc/conf", true}, {"logs", "/var/log", false}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
	for _, item := range []string{"data", "data:", ":/data", "data:relative", "data:/", "data:/a:rx", "data:/a:ro:x", ""} {
		if _, err := parseMounts([]string{item}); exitCode(err) != exitUsage {
			t.Errorf("%q: %v; want a usage error", item, err)
		}
	}
}

func TestAPodIsNamedAfterItsImage(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]string{
		"registry.example.com/team/nginx:1.22":            "nginx",
		"registry.example.com:5000/Big_Name":              "big-name",
		"busybox@sha256:0123":                             "busybox",
		"registry.example.com/" + strings.Repeat("a", 80): strings.Repeat("a", 50),
		"___": "pod",
	} {
		got := baseName(reference)
		if got != want || !isName(got) {
			t.Errorf("%s: %q, want %q", reference, got, want)
		}
	}
}

func TestTheCommandLineBecomesAnOrder(t *testing.T) {
	t.Parallel()
	f := runFlags{name: "web", cpus: "1", memory: "1Gi", restart: "onfailure", user: "app", workdir: "/srv", entrypoint: "/bin/start", labels: []string{"app=web"}, env: []string{"A=b"}, volumes: []string{"data:/data:ro"}}
	got, mounts, err := f.order("registry.example.com/nginx:1.22", []string{"--", "-g", "daemon off;"})
	if err != nil {
		t.Fatal(err)
	}
	user, workdir, policy := "app", "/srv", openapi.OnFailure
	want := openapi.PodCreate{Name: "web", Labels: &openapi.Labels{"app": "web"}, Spec: openapi.PodSpec{
		Resources:     openapi.Resources{CPUMillis: 1000, MemoryMiB: 1024},
		RestartPolicy: &policy,
		Containers: []openapi.Container{{
			Name: "nginx", Image: "registry.example.com/nginx:1.22", Command: &[]string{"/bin/start"}, Args: &[]string{"-g", "daemon off;"},
			Env: &[]openapi.EnvVar{{Name: "A", Value: "b"}}, User: &user, WorkingDir: &workdir,
		}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]mount{{"data", "/data", true}}, mounts, cmp.AllowUnexported(mount{})); diff != "" {
		t.Error(diff)
	}
}
