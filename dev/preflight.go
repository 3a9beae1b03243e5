// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lookPath finds a program in PATH or in the given additional directories. Daemons are in
// /usr/sbin, which is not in every user's PATH.
func lookPath(name, debianPackage string, folders ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, folder := range append(folders, "/usr/sbin", "/usr/bin") {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s not found: apt-get install %s", name, debianPackage)
}

// portFree returns an error if a port is in use. The error names the process, and the flag that
// selects another port.
func portFree(addr netip.AddrPort, flag string) error {
	l, err := net.Listen("tcp", addr.String())
	if err == nil {
		return l.Close()
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	return fmt.Errorf("port %d is in use by %s; stop it or pass --%s", addr.Port(), portOwner(addr.Port()), flag)
}

// portOwner returns the name of the process that listens on a TCP port, if it is visible to this
// user.
func portOwner(port uint16) string {
	inode := listeningInode(port)
	if inode == "" {
		return "another process"
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return "another process"
}

func listeningInode(port uint16) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			const listen = "0A"
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || fields[3] != listen {
				continue
			}
			_, hex, _ := strings.Cut(fields[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(n) == port {
				return fields[9]
			}
		}
	}
	return ""
}

// FreePort returns an unused TCP port of addr. It is below the range from which the kernel picks
// ports for outgoing connections.
func FreePort(addr netip.Addr) (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(12000)
		var l net.Listener
		if l, err = net.Listen("tcp", netip.AddrPortFrom(addr, uint16(port)).String()); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port on %s: %w", addr, err)
}

// reachable returns an error if other users cannot pass through to path.
func reachable(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("user postgres cannot reach %s: chmod o+x %s or pass another --state-dir", path, dir)
		}
		if dir == "/" {
			return nil
		}
	}
}
