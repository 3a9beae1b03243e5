// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/client"
	"husk/openapi"
)

func TestSizeIsAMultipleOfItsUnit(t *testing.T) {
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
		got, err := Size("--memory", c.text, c.unit)
		if err != nil || got != c.want {
			t.Errorf("%s in %s: %d, %v; want %d", c.text, c.unit, got, err, c.want)
		}
	}
	for _, text := range []string{"", "256", "256M", "Mi", "-1Mi", "+1Mi", "1e3Mi", "1/2Gi", "0Mi", "1.5Mi", "1..5Gi", "1 Gi", "0x10Mi", "99999999999999999999Ti", "NaNGi"} {
		if got, err := Size("--memory", text, "Mi"); exit.Code(err) != exit.Usage || !strings.Contains(err.Error(), "--memory") {
			t.Errorf("%q: %d, %v; want a usage error that names the flag", text, got, err)
		}
	}
}

func TestCPU(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"0.5": 500, "2": 2000, "500m": 500, ".25": 250, "1.001": 1001} {
		if got, err := CPU(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "0", "-1", "1.0001", "0.5m", "1,5", "two", "1e3"} {
		if got, err := CPU(text); exit.Code(err) != exit.Usage {
			t.Errorf("%q: %d, %v; want a usage error", text, got, err)
		}
	}
}

func TestEnvTakesValuesFromTheFlagOrTheEnvironment(t *testing.T) {
	t.Setenv("HUSK_TEST_VALUE", "from here")
	got, err := Env([]string{"A=b", "EMPTY=", "EQUALS=a=b", "HUSK_TEST_VALUE"})
	if err != nil {
		t.Fatal(err)
	}
	want := []openapi.EnvVar{{Name: "A", Value: new("b")}, {Name: "EMPTY", Value: new("")}, {Name: "EQUALS", Value: new("a=b")}, {Name: "HUSK_TEST_VALUE", Value: new("from here")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, item := range []string{"=b", "", "HUSK_TEST_NOT_SET"} {
		if _, err := Env([]string{item}); exit.Code(err) != exit.Usage {
			t.Errorf("%q: %v; want a usage error", item, err)
		}
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	got, err := allMounts([]string{"data:/data", "data:/etc/conf:ro", "logs:/var/log:rw"}, []string{"s:/old"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{Volume: "data", Path: "/data"},
		{Volume: "data", Path: "/etc/conf", ReadOnly: true},
		{Volume: "logs", Path: "/var/log"},
		{Volume: "s", Snapshot: true, Path: "/old", ReadOnly: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, item := range []string{"s", "s:", ":/old", "s:old", "s:/old:rw"} {
		if _, err := allMounts(nil, []string{item}); exit.Code(err) != exit.Usage {
			t.Errorf("--snapshot %q: %v; want a usage error", item, err)
		}
	}
	for _, item := range []string{"data", "data:", ":/data", "data:relative", "data:/", "data:/a:rx", "data:/a,ro", "data:/a:ro:x", ""} {
		if _, err := Mounts([]string{item}); exit.Code(err) != exit.Usage {
			t.Errorf("%q: %v; want a usage error", item, err)
		}
	}
}

func TestPodIsNamedAfterItsImage(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string]string{
		"registry.example.com/team/nginx:1.22":            "nginx",
		"registry.example.com:5000/Big_Name":              "big-name",
		"busybox@sha256:0123":                             "busybox",
		"registry.example.com/" + strings.Repeat("a", 80): strings.Repeat("a", 50),
		"___": "pod",
	} {
		got := BaseName(reference)
		if got != want || !client.IsName(got) {
			t.Errorf("%s: %q, want %q", reference, got, want)
		}
	}
}

func TestPodFromFlags(t *testing.T) {
	t.Parallel()
	f := Pod{name: "web", cpus: "1", memory: "1Gi", restart: "onfailure", user: "app", workdir: "/srv", entrypoint: "/bin/start", labels: []string{"app=web"}, env: []string{"A=b"}, volumes: []string{"data:/data:ro"}}
	got, mounts, err := f.Create("registry.example.com/nginx:1.22", []string{"--", "-g", "daemon off;"}, true)
	if err != nil {
		t.Fatal(err)
	}
	user, workdir, policy := "app", "/srv", openapi.OnFailure
	want := openapi.PodCreate{Name: "web", Labels: &openapi.Labels{"app": "web"}, Spec: openapi.PodSpec{
		Resources:     openapi.Resources{CPUMillis: 1000, MemoryMiB: 1024},
		RestartPolicy: &policy,
		Containers: []openapi.Container{{
			Name: "nginx", Image: "registry.example.com/nginx:1.22", Command: &[]string{"/bin/start"}, Args: &[]string{"-g", "daemon off;"},
			Env: &[]openapi.EnvVar{{Name: "A", Value: new("b")}}, User: &user, WorkingDir: &workdir,
			StartOnAttach: new(true),
		}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Mount{{Volume: "data", Path: "/data", ReadOnly: true}}, mounts); diff != "" {
		t.Error(diff)
	}
}

func TestPodFromFlagsOfDocker(t *testing.T) {
	t.Parallel()
	create := func(args ...string) (openapi.PodSpec, error) {
		var f Pod
		fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
		f.AddTo(fs)
		if err := fs.Parse(args); err != nil {
			t.Fatal(err)
		}
		pod, _, err := f.Create("nginx", nil, false)
		return pod.Spec, err
	}
	got, err := create("--cap-add", "cap_net_admin", "--cap-drop", "all", "--group-add", "staff", "--group-add", "4711", "--read-only", "--security-opt", "no-new-privileges:true",
		"--stop-signal", "sigint", "--stop-timeout", "0", "--health-cmd", "true", "--health-interval", "5s", "--health-retries", "2", "--ulimit", "nofile=1024:2048", "--ulimit", "core=-1", "--init", "--restart", "on-failure:3")
	if err != nil {
		t.Fatal(err)
	}
	yes, sigint, zero := true, "SIGINT", 0
	want := openapi.Container{
		Name: "nginx", Image: "nginx", CapabilitiesAdd: &[]string{"NET_ADMIN"}, CapabilitiesDrop: &[]string{"ALL"}, Groups: &[]string{"staff", "4711"},
		ReadOnlyRoot: &yes, NoNewPrivileges: &yes, StopSignal: &sigint,
		Ulimits:     &[]openapi.Ulimit{{Name: "nofile", Soft: 1024, Hard: 2048}, {Name: "core", Soft: -1, Hard: -1}},
		InitProcess: &yes, MaxRestarts: new(3),
		LivenessProbe: &openapi.Probe{Exec: &[]string{"/bin/sh", "-c", "true"}, PeriodSeconds: new(5), FailureThreshold: new(2)},
	}
	if diff := cmp.Diff(want, got.Containers[0]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&zero, got.TerminationGracePeriodSeconds); diff != "" {
		t.Error(diff)
	}
	got, err = create("--tmpfs", "/run", "--tmpfs", "/tmp/:rw,size=64m", "--shm-size", "1g")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(new(1024), got.ShmSizeMiB); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&[]openapi.PodVolume{
		{Name: "tmpfs-1", EmptyDir: &openapi.EmptyDir{Memory: &yes}}, {Name: "tmpfs-2", EmptyDir: &openapi.EmptyDir{Memory: &yes, SizeMiB: new(64)}},
	}, got.Volumes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&[]openapi.VolumeMount{{Volume: "tmpfs-1", MountPath: "/run"}, {Volume: "tmpfs-2", MountPath: "/tmp"}}, got.Containers[0].VolumeMounts); diff != "" {
		t.Error(diff)
	}
	got, err = create("-h", "db", "--add-host", "a:192.0.2.1", "--add-host", "six=2001:db8::1", "--add-host", "b:2001:db8::2", "--dns", "192.0.2.53", "--dns-search", "example.com",
		"--dns-option", "ndots:2", "--dns-option", "rotate", "--sysctl", "net.ipv4.ip_local_port_range=1 2", "--ephemeral-storage", "20g")
	if err != nil {
		t.Fatal(err)
	}
	hosts := &openapi.PodSpec{
		Hostname: new("db"), HostAliases: &[]openapi.HostAlias{
			{IP: "192.0.2.1", Hostnames: []string{"a"}}, {IP: "2001:db8::1", Hostnames: []string{"six"}}, {IP: "2001:db8::2", Hostnames: []string{"b"}},
		},
		DNSPolicy: new(openapi.PodSpecDNSPolicyNone), DNSConfig: &openapi.DNSConfig{
			Nameservers: &[]string{"192.0.2.53"}, Searches: &[]string{"example.com"}, Options: &[]openapi.DNSOption{{Name: "ndots", Value: new("2")}, {Name: "rotate"}},
		},
		Sysctls: &[]openapi.Sysctl{{Name: "net.ipv4.ip_local_port_range", Value: "1 2"}}, EphemeralStorageGiB: new(20),
		Containers: got.Containers, Resources: got.Resources, RestartPolicy: got.RestartPolicy,
	}
	if diff := cmp.Diff(*hosts, got); diff != "" {
		t.Error(diff)
	}
	if got, err = create("--ephemeral-storage", "memory"); err != nil || got.EphemeralStorage == nil || *got.EphemeralStorage != openapi.Memory {
		t.Errorf("no disk: %+v, %v", got.EphemeralStorage, err)
	}
	for _, args := range [][]string{
		{"--shm-size", "64"},
		{"--ephemeral-storage", "20m"},
		{"--add-host", "db"},
		{"--add-host", ":192.0.2.1"},
		{"--sysctl", "net.core.somaxconn"},
		{"--tmpfs", "run"},
		{"--tmpfs", "/run:noexec"},
		{"--tmpfs", "/run:size=64k"},
		{"--security-opt", "seccomp=unconfined"},
		{"--security-opt", "no-new-privileges=maybe"},
		{"--stop-timeout", "1m"},
		{"--ulimit", "nofile"},
		{"--ulimit", "nofile=many"},
		{"--ulimit", "=1"},
		{"--ulimit", "nofile=1:"},
		{"--restart", "always:3"},
		{"--restart", "on-failure:many"},
		{"--restart", "on-failure:-1"},
		{"--health-interval", "5s"},
		{"--health-cmd", "true", "--health-timeout", "500ms"},
	} {
		if _, err := create(args...); exit.Code(err) != exit.Usage {
			t.Errorf("%q: %v; want a usage error", args, err)
		}
	}
}
