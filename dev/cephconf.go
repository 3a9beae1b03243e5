// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// podKeyPrefix is the prefix of the names of pods' keys. The server may not use other keys. Package
// ceph creates them.
const podKeyPrefix = "client.husk-pod."

// cephKeys are the users that a new cluster is created with.
func cephKeys() []cephKey {
	return []cephKey{
		{User: "mon.", caps: [][2]string{{"mon", "allow *"}}},
		{User: "client.admin", caps: [][2]string{{"mon", "allow *"}, {"osd", "allow *"}, {"mgr", "allow *"}}},
		{User: "mgr.a", caps: [][2]string{{"mon", "allow profile mgr"}, {"osd", "allow *"}}},
		{User: "osd.0", caps: [][2]string{{"mon", "allow profile osd"}, {"mgr", "allow profile osd"}, {"osd", "allow *"}}},
		{User: "client." + CephUser, caps: serverCaps()},
	}
}

// serverCaps is everything that the server may do: use RBD in its two pools, fence clients, and
// create, change and delete the keys of pods, with read access to the mon only. The server may not
// list keys, because the list would include the admin's.
func serverCaps() [][2]string {
	pod := fmt.Sprintf(`with entity prefix "%s"`, podKeyPrefix)
	mon := []string{
		"profile rbd",
		`allow command "osd blocklist"`,
		`allow command "osd blocklist ls"`,
		`allow command "auth get" ` + pod,
		`allow command "auth del" ` + pod,
		`allow command "auth get-or-create" ` + pod + ` caps_mon="allow r"`,
		`allow command "auth caps" ` + pod + ` caps_mon="allow r"`,
	}
	osd := fmt.Sprintf("profile rbd pool=%s, profile rbd pool=%s", ImagesPool, VolumesPool)
	return [][2]string{{"mon", strings.Join(mon, ", ")}, {"osd", osd}}
}

// setup returns the commands that the mon gets at every start. They are idempotent.
func (s *Stack) setup(c cluster) []string {
	commands := []string{
		"osd new " + c.OSD + " 0",
		// Clones of snapshots in another pool, without protecting the snapshots (clone format 2),
		// need clients of at least this version.
		"osd set-require-min-compat-client mimic",
		// This module would create a pool for the health of disks, which are only files here.
		"config set mgr mgr/devicehealth/enable_monitoring false --force",
	}
	for _, pool := range []string{ImagesPool, VolumesPool} {
		commands = append(commands, "osd pool create "+pool+" 8 8", "osd pool application enable "+pool+" rbd")
	}
	// Data of an older version may have other caps.
	update := []string{"auth caps client." + CephUser}
	for _, c := range serverCaps() {
		update = append(update, fmt.Sprintf("%s '%s'", c[0], c[1]))
	}
	return append(commands, strings.Join(update, " "))
}

// writeCephFiles writes ceph.conf and the keyrings, which are derived from c.
func (s *Stack) writeCephFiles(c cluster) error {
	if err := os.WriteFile(s.CephConf(), []byte(s.cephConf(c)), 0o644); err != nil {
		return err
	}
	files := map[string]string{
		"client.admin":       s.CephAdminKeyring(),
		"client." + CephUser: s.CephKeyring(),
		"mgr.a":              s.dir.join("ceph", "mgr", "keyring"),
		"osd.0":              s.dir.join("ceph", "osd", "keyring"),
	}
	for _, k := range c.Keys {
		if path := files[k.User]; path != "" {
			if err := writeFileAtomic(path, []byte(keyring(cephKey{User: k.User, Secret: k.Secret}))); err != nil {
				return err
			}
		}
	}
	return nil
}

// cephConf is the complete configuration. The settings other than addresses let one small machine
// be a healthy cluster, or make it start fast.
func (s *Stack) cephConf(c cluster) string {
	var out strings.Builder
	section := func(name string, settings ...[2]string) {
		fmt.Fprintf(&out, "[%s]\n", name)
		for _, kv := range settings {
			fmt.Fprintf(&out, "%s = %s\n", kv[0], kv[1])
		}
	}
	dir := s.dir.join("ceph")
	ip := s.cephAddr().String()
	section("global",
		[2]string{"fsid", c.FSID},
		[2]string{"mon host", msgr2(c.Addr)},
		[2]string{"mon initial members", "a"},
		[2]string{"public addr", ip},
		[2]string{"cluster addr", ip},
		[2]string{"ms bind msgr1", "false"},
		[2]string{"ms bind ipv4", fmt.Sprint(s.cephAddr().Is4())},
		[2]string{"ms bind ipv6", fmt.Sprint(s.cephAddr().Is6())},
		[2]string{"auth cluster required", "cephx"},
		[2]string{"auth service required", "cephx"},
		[2]string{"auth client required", "cephx"},
		// Every client supports the secure way; allowing the insecure one would cause a warning.
		[2]string{"auth allow insecure global id reclaim", "false"},
		[2]string{"keyring", filepath.Join(dir, "$name.keyring")},
		[2]string{"run dir", dir},
		[2]string{"pid file", ""},
		[2]string{"log to file", "false"},
		[2]string{"log to stderr", "false"},
		[2]string{"debug rocksdb", "1/5"}, // it logs very much
		// There is one copy on one disk on purpose, so it is no reason for a warning.
		[2]string{"osd pool default size", "1"},
		[2]string{"osd pool default min size", "1"},
		[2]string{"osd pool default pg autoscale mode", "off"},
		[2]string{"osd crush chooseleaf type", "0"},
		[2]string{"mon allow pool size one", "true"},
		[2]string{"mon warn on pool no redundancy", "false"},
		// The mon's disk is the machine's own, so the default of a third free space is not needed.
		[2]string{"mon data avail warn", "5"},
		[2]string{"mon data avail crit", "2"},
		// The default of a second between map changes is for clusters with many OSDs.
		[2]string{"paxos propose interval", "0.05"},
		[2]string{"osd memory target", "939524096"}, // its minimum
		// There is no other OSD that sends heartbeats. The lease under which a PG serves is 0.8
		// times this value. If it expires because the machine stalls (16 s by default), the PG of a
		// single OSD stays "laggy", and its requests wait forever.
		[2]string{"osd heartbeat grace", "3600"},
		[2]string{"osd op num shards", "2"},
		[2]string{"bdev aio poll ms", "25"}, // every close of the device waits for one poll
		[2]string{"bluestore fsck on mkfs", "false"},
	)
	section("mon",
		[2]string{"mon data", filepath.Join(dir, "mon")},
		[2]string{"keyring", filepath.Join(dir, "mon", "keyring")},
		[2]string{"log to stderr", "true"},
		[2]string{"mon cluster log to file", "false"},
		[2]string{"mgr initial modules", ""},
	)
	section("mgr",
		[2]string{"mgr data", filepath.Join(dir, "mgr")},
		[2]string{"keyring", filepath.Join(dir, "mgr", "keyring")},
		[2]string{"log to stderr", "true"},
	)
	section("osd",
		[2]string{"osd data", filepath.Join(dir, "osd")},
		[2]string{"keyring", filepath.Join(dir, "osd", "keyring")},
		[2]string{"log to stderr", "true"},
		[2]string{"osd objectstore", "bluestore"},
		[2]string{"bluestore block create", "true"},
		[2]string{"bluestore block size", fmt.Sprint(s.cfg.OSDSizeBytes)},
	)
	return out.String()
}

func msgr2(addr netip.AddrPort) string { return "[v2:" + addr.String() + "]" }
