// SPDX-License-Identifier: Apache-2.0

package pods

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"husk/openapi"
	"husk/test/stack"
)

// A pod reads a config and a secret as variables and files. A changed value reaches the running pod without an interruption: files change
// at once, and variables with the next start of the container.
func TestAPodReadsConfigsAndSecrets(t *testing.T) {
	t.Parallel()
	tn := stack.NewTenant(t)
	busybox := tn.ImportImage(t, "busybox")
	data := tn.Volume(t, "data")
	create := func(kind openapi.ConfigKind, name string, values map[string]string) openapi.Config {
		t.Helper()
		given := openapi.ConfigValues{}
		for k, v := range values {
			given[k] = &v
		}
		c, err := tn.API.Configs.Create(t.Context(), openapi.ConfigCreate{Kind: kind, Name: name, Values: &given})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	create(openapi.ConfigKindConfig, "web", map[string]string{"LEVEL": "info", "run.sh": "#!/bin/sh\necho the script runs\n"})
	secret := create(openapi.ConfigKindSecret, "db", map[string]string{"password": "first"})
	pod := tn.Create(t, "reader", func(s *openapi.PodSpec) {
		s.Volumes = &[]openapi.PodVolume{
			data,
			{Name: "web", Config: &openapi.ConfigFiles{Name: "web", Mode: new("0755")}},
			{Name: "db", Secret: &openapi.ConfigFiles{Name: "db", Mode: new("0400")}},
			{Name: "all", Projected: &[]openapi.Projection{
				{Config: &openapi.ConfigFiles{Name: "web"}}, {Secret: &openapi.ConfigFiles{Name: "db"}}, {Files: &[]openapi.ProjectedFile{{Path: "pod/name", Field: new("name")}}},
			}},
		}
		main := stack.Shell(busybox, `
/etc/web/run.sh
echo "all: $(ls /all | tr '\n' ' ')$(cat /all/pod/name) $(cat /all/password)"
echo "level=$LEVEL password=$PASSWORD name=$ME address=$(hostname -i | grep -c "$IP")"
stat -c "mode=%a owner=%u" -L /etc/db/password
touch /etc/db/x 2>/dev/null && echo "wrote to a secret"
echo kept > /sub/kept
while sleep 0.2; do [ -e /tmp/end ] && rm /tmp/end && exit 0; done`)
		main.EnvFrom = &[]openapi.EnvSource{{Config: new("web")}}
		main.Env = &[]openapi.EnvVar{
			{Name: "PASSWORD", From: &openapi.ValueSource{Secret: new("db"), Key: new("password")}},
			{Name: "ME", From: &openapi.ValueSource{Field: new("name")}},
			{Name: "IP", From: &openapi.ValueSource{Field: new("address")}},
		}
		main.VolumeMounts = &[]openapi.VolumeMount{
			{Volume: "web", MountPath: "/etc/web"},
			{Volume: "db", MountPath: "/etc/db"},
			{Volume: "all", MountPath: "/all"},
			{Volume: "data", MountPath: "/sub", SubPath: new("a/b")},
			{Volume: "data", MountPath: "/whole"},
		}
		s.Containers = []openapi.Container{main}
	})
	tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
	log := tn.WaitForLog(t, pod.ID, "main", "owner=0")
	for _, want := range []string{"the script runs", "level=info password=first name=reader address=1", "mode=400 owner=0", "all: LEVEL password pod run.sh reader first"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not contain %q:\n%s", want, log)
		}
	}
	run := func(line string) (string, error) {
		out, err := tn.Husk(t.Context(), "exec", "reader", "--", "sh", "-c", line).CombinedOutput()
		return string(out), err
	}
	if out, err := run("cat /whole/a/b/kept"); err != nil || out != "kept\n" {
		t.Errorf("the sub path of the volume has %q, %v", out, err)
	}

	// A session that is open during the change continues.
	seen := make(chan error, 1)
	go func() {
		out, err := run("until grep -q second /etc/db/password; do sleep 0.2; done; sleep 1; echo seen")
		if err == nil && out != "seen\n" {
			err = fmt.Errorf("the session printed %q", out)
		}
		seen <- err
	}()
	stack.Eventually(t, time.Minute, func() error { _, err := run("ps | grep -q 'unti[l] grep'"); return err })
	if _, err := tn.API.Configs.Update(t.Context(), secret.ID, openapi.ConfigUpdate{Values: &openapi.ConfigValues{"password": new("second")}}, false); err != nil {
		t.Fatal(err)
	}
	if err := <-seen; err != nil {
		t.Error("the session did not survive the change:", err)
	}
	if out, err := run("touch /tmp/end; cat /etc/db/password"); err != nil || out != "second" {
		t.Errorf("after the change the file has %q, %v", out, err)
	}
	tn.WaitForLog(t, pod.ID, "main", "level=info password=second")
}
