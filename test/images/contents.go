// SPDX-License-Identifier: Apache-2.0

package images

import (
	_ "embed"
	"fmt"
	"os/exec"
	"strings"
)

const (
	wwwData  = 33
	postgres = 70
	pgvolume = "/var/lib/postgresql/data"
	// A directory below the mount point, because the root of a new ext4 contains
	// lost+found, and initdb requires an empty directory.
	pgdata = pgvolume + "/pgdata"
)

var (
	//go:embed nginx.conf
	nginxConf string
	//go:embed postgres-entrypoint.sh
	postgresEntrypoint string
)

var baseLayer = layerRecipe{
	name: "base", version: 1, packages: []string{"busybox-static"},
	add: func(f files) error {
		for _, d := range mergedDirs {
			f.symlink(d, "usr/"+d)
		}
		for _, d := range []string{"dev", "etc", "home", "proc", "run", "srv", "sys", "usr", "usr/bin", "usr/lib", "usr/lib32", "usr/lib64", "usr/libx32", "usr/sbin", "var", "var/lib", "var/log", "var/www"} {
			f.dir(d, 0o755, 0)
		}
		f.dir("root", 0o700, 0)
		for _, d := range []string{"tmp", "var/tmp"} {
			f.dir(d, 0o1777, 0)
		}
		f.symlink("var/run", "../run")
		var passwd, group strings.Builder
		for _, u := range []struct {
			name string
			id   int
			home string
		}{{"root", 0, "/root"}, {"www-data", wwwData, "/var/www"}, {"postgres", postgres, "/var/lib/postgresql"}, {"user", 1000, "/home"}, {"nobody", 65534, "/nonexistent"}} {
			fmt.Fprintf(&passwd, "%s:x:%d:%d::%s:/bin/sh\n", u.name, u.id, u.id, u.home)
			fmt.Fprintf(&group, "%s:x:%d:\n", u.name, u.id)
		}
		f.file("etc/passwd", 0o644, passwd.String())
		f.file("etc/group", 0o644, group.String())
		f.file("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\nhosts: files dns\n")
		f.file("var/www/index.html", 0o644, "hello from busybox\n")
		return f.applets()
	},
}

// applets adds a link to busybox for each of its applets. It runs the busybox
// of the layer to list them; the program is static, so it also runs here.
func (f files) applets() error {
	e, ok := f["usr/bin/busybox"]
	if !ok {
		return fmt.Errorf("busybox-static contains no /bin/busybox")
	}
	list, err := runFrom(e, "--list")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(list) {
		if _, there := f["usr/bin/"+name]; !there {
			f.symlink("usr/bin/"+name, "busybox")
		}
	}
	return nil
}

var nginxLayer = layerRecipe{
	name: "nginx", version: 1, packages: []string{"nginx", "nginx-common"},
	without: []string{"etc/init.d/", "usr/lib/systemd/", "etc/ufw/", "etc/logrotate.d/", "usr/share/vim/"},
	add: func(f files) error {
		f.file("etc/nginx/nginx.conf", 0o644, nginxConf)
		f.dir("var/log/nginx", 0o755, wwwData)
		f.dir("var/lib/nginx", 0o755, wwwData)
		return nil
	},
}

var postgresLayer = layerRecipe{
	name: "postgres", version: 2,
	packages: []string{"postgresql-15", "postgresql-client-15", "tzdata", "libc-bin"},
	without:  []string{"usr/lib/postgresql/15/lib/bitcode/", "usr/lib/postgresql/15/lib/llvmjit.so/", "usr/share/postgresql-common/", "usr/share/zoneinfo/right/", "usr/share/zoneinfo/posix/"},
	add: func(f files) error {
		for _, program := range []string{"initdb", "pg_ctl", "pg_dump", "pg_isready", "pgbench", "postgres", "psql"} {
			f.symlink("usr/bin/"+program, "../lib/postgresql/15/bin/"+program)
		}
		f.file("usr/local/bin/entrypoint", 0o755, postgresEntrypoint)
		f.dir("usr/local/bin", 0o755, 0)
		f.dir("var/lib/postgresql", 0o755, postgres)
		f.dir("var/lib/postgresql/data", 0o755, postgres)
		f.dir("run/postgresql", 0o775, postgres)
		return nil
	},
}

func runFrom(e entry, args ...string) (string, error) {
	path, remove, err := materialise(e)
	if err != nil {
		return "", err
	}
	defer remove()
	cmd := exec.Command(path, args...)
	cmd.Args[0] = "busybox" // otherwise busybox looks for an applet with the name of the file
	out, err := cmd.Output()
	return string(out), err
}
