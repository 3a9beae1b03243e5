// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"husk/guest"
	"husk/session"
)

// attacks are what root in a container tries. Each succeeds if its command does. No command ends the
// VM, even if it succeeds, because the other attacks follow.
var attacks = []struct{ what, command string }{
	{"write core_pattern", `echo '|/bin/sh' > /proc/sys/kernel/core_pattern`},
	{"write a setting of the network", `echo 1 > /proc/sys/net/ipv4/ip_forward`},
	{"use the sysrq trigger", `echo h > /proc/sysrq-trigger`},
	{"write to a PCI device through /proc", `f=$(ls -d /proc/bus/pci/*/* | head -n 1) && test -n "$f" && printf x | dd of=$f bs=1 seek=60`},
	{"move an interrupt", `echo 1 > /proc/irq/default_smp_affinity`},
	{"read the kernel's memory", `head -c 1 /proc/kcore | grep -q .`},
	{"read the kernel's keys", `grep -q . /proc/keys`},
	{"read timers of all processes", `grep -q . /proc/timer_list`},
	{"read the firmware", `ls /sys/firmware | grep -q .`},
	{"write a uevent helper", `echo /bin/sh > /sys/kernel/uevent_helper`},
	{"write its cgroup", `echo max > /sys/fs/cgroup/memory.max`},
	{"remount /sys", `mount -o remount,rw /sys`},
	{"remount /proc/sys", `mount -o remount,rw,bind /proc/sys`},
	{"unmount a mask", `umount /proc/sys || umount /proc/kcore`},
	{"mount another /proc", `mkdir -p /tmp/p && mount -t proc kernel /tmp/p`},
	{"mount the devices", `mkdir -p /tmp/d && mount -t devtmpfs dev /tmp/d`},
	{"become root of a user namespace", `unshare -U -r true`},
	{"mount in a user namespace", `unshare -U -r -m true`},
	{"make a device node", `mknod /tmp/disk b 254 0`},
	{"open the image's device node", `head -c 1 /disk`},
	{"open a disk", `head -c 1 /dev/vda`},
	{"open the guest channel", `ls /dev | grep -q vport`},
	{"make the node of the guest channel", `mknod /tmp/channel c $(cat /sys/class/virtio-ports/*/dev | head -n 1 | tr : ' ')`},
	{"load a module", `echo module > /tmp/m.ko && ! insmod /tmp/m.ko 2>&1 | grep -q 'not permitted'`},
	{"read the kernel's log", `dmesg | grep -q .`},
	{"change the hostname", `hostname attacked`},
	{"reboot", `! reboot -f -n 2>&1 | grep -q 'not permitted'`},
	{"see a process of another container", `ps | grep -v grep | grep -q neighbour`},
	{"read another container's files", `cat /proc/*/root/secret`},
	{"read its own file system outside of its root", `cat /proc/*/root/run/husk/volumes/* || ls /proc/*/root/run/husk`},
	{"enter the namespaces of husk-init", `nsenter -t 1 -m -p ls /run/husk`},
	{"read husk-init's program", `grep -q husk-init /proc/[0-9]*/exe`},
	{"leave the root with chroot", `mkdir -p /tmp/x && chroot /tmp/x /bin/ls /run/husk`},
	{"set the clock", `! date -s '2001-01-01 00:00:00' 2>&1 | grep -q 'not permitted'`},
}

// Root in a container, and in a command that is run in it, reaches neither husk-init nor another
// container of its pod. Root in a privileged container has the guest. Ordinary programs work.
func TestRootInAContainerStaysInIt(t *testing.T) {
	t.Parallel()
	busybox, err := os.ReadFile(lookPath(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	more := []entry{
		{name: "disk", mode: 0o666, disk: true}, {name: "suid/", mode: 0o755}, {name: "suid/ping", content: string(busybox), mode: 0o4755},
	}
	for applet := range strings.FieldsSeq("mkdir mknod insmod dmesg unshare nsenter umount ps chroot date reboot head dd tr touch printf sysctl ping") {
		more = append(more, entry{name: "bin/" + applet, link: "busybox"})
	}
	v := bootVM(t, "256", []disk{{makeImage(t, more...), "image-1", true}})
	c := v.dial(t)
	var script strings.Builder
	for i, a := range attacks {
		fmt.Fprintf(&script, "if ( %s ) >/dev/null 2>&1; then echo succeeded %d; fi\n", a.command, i)
	}
	script.WriteString("echo tried all\n")
	keep := "\nexec sleep 1000000"
	spec := guest.Spec{
		PodID: "pod-a", Hostname: "pod-a", RestartPolicy: guest.RestartNever,
		Containers: []guest.Container{
			{Name: "attacker", ImageSerial: "image-1", Args: []string{"sh", "-c", script.String() + keep}},
			{Name: "neighbour", ImageSerial: "image-1", Args: []string{"sh", "-c", "echo neighbour > /secret" + keep}},
			{Name: "privileged", ImageSerial: "image-1", Args: []string{"sh", "-c", keep}, Privileged: true},
		},
	}
	if _, err := c.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, c, "the containers run", func(s guest.Status) bool {
		return !slices.ContainsFunc(s.Containers, func(c guest.ContainerStatus) bool { return c.State != guest.StateRunning })
	})
	defer func() { logOnFailure(t, c, "attacker") }()
	eventually(t, "the attacker has tried everything", func() bool {
		return strings.Contains(logsOf(t, c, "attacker")[guest.Stdout], "tried all")
	})
	check := func(from, output string) {
		for i, a := range attacks {
			if strings.Contains(output, fmt.Sprintf("succeeded %d\n", i)) {
				t.Errorf("%s can: %s", from, a.what)
			}
		}
		if !strings.Contains(output, "tried all\n") {
			t.Errorf("%s has not tried every attack: %q", from, output)
		}
	}
	check("a container", logsOf(t, c, "attacker")[guest.Stdout])
	got := run(t, c, guest.Exec{Container: "attacker", Args: []string{"sh", "-c", script.String()}})
	check("a command in a container", got.stdout)

	for _, file := range []string{"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/1/root/proc/sys/kernel/core_pattern"} {
		if code := copyFileTo(t, c, "attacker", file); code == "" {
			t.Errorf("a copied file replaces %s", file)
		}
	}
	confined := func(container string) string {
		return run(t, c, guest.Exec{Container: container, Args: []string{"sh", "-c", "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status /proc/1/status"}}).stdout
	}
	for _, want := range []string{"/proc/self/status:Seccomp:\t2", "/proc/1/status:Seccomp:\t2", "/proc/self/status:CapBnd:\t00000000a00425fb", "/proc/1/status:CapBnd:\t00000000a00425fb"} {
		if got := confined("attacker"); !strings.Contains(got, want) {
			t.Errorf("the container has %s; want %q", got, want)
		}
	}
	for _, want := range []string{"/proc/self/status:Seccomp:\t0", "/proc/1/status:Seccomp:\t0"} {
		if got := confined("privileged"); !strings.Contains(got, want) {
			t.Errorf("the privileged container has %s; want %q", got, want)
		}
	}
	// What it may do, and a confined container may not.
	for _, may := range []string{
		"echo core > /proc/sys/kernel/core_pattern", "head -c 1 /dev/vda >/dev/null", "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m", "dmesg | grep -q .",
		"unshare -U -r true", "ls /dev | grep -q vport",
	} {
		if got := run(t, c, guest.Exec{Container: "privileged", Args: []string{"sh", "-c", may}}); got.status.Code != 0 {
			t.Errorf("root in a privileged container cannot run %q: %+v", may, got)
		}
	}
	for program, code := range map[string]int{"/bin/ping": 1, "/suid/ping": 0} { // the second one runs as root
		if got := run(t, c, guest.Exec{Container: "attacker", User: "app", Args: []string{program, "-c", "1", "127.0.0.1"}}); got.status.Code != code {
			t.Errorf("%s of a user that is not root: %+v; want exit code %d", program, got, code)
		}
	}
	for _, may := range []string{"su app -c id", "ping -c 1 127.0.0.1", "chroot / id", "cat /proc/sys/kernel/hostname /proc/self/status", "ls /sys/class/net"} {
		if got := run(t, c, guest.Exec{Container: "attacker", Args: []string{"sh", "-c", may}}); got.status.Code != 0 {
			t.Errorf("a container cannot run %q: %+v", may, got)
		}
	}
}

// copyFileTo copies a file to a container, and returns the error.
func copyFileTo(t *testing.T, c *guest.Client, container, file string) string {
	t.Helper()
	conn, err := c.CopyIn(t.Context(), guest.Copy{Container: container, Path: file})
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Size: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("h\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_ = conn.Send(session.Stdin, archive.Bytes())
	_ = conn.Send(session.EOF, nil)
	if got := receiveAll(conn); got.err != nil {
		return got.err.Error()
	}
	return ""
}
