// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// Users is a range of user ids that belong to nobody else on the node. Each QEMU process gets one of
// its own while it runs, so that a process that an attacker controls can neither trace nor signal
// its neighbors, nor open their files.
type Users struct {
	First uint32
	Count uint32
}

// DefaultUsers lies in a range that systemd assigns to nobody, below 2³¹, because some programs
// take larger ids for negative (systemd, "Users, Groups, UIDs and GIDs on systemd Systems").
var DefaultUsers = Users{First: 1_900_000_000, Count: 65_536}

// ParseUsers reads FIRST-LAST.
func ParseUsers(s string) (Users, error) {
	first, last, _ := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(first, 10, 31)
	b, errB := strconv.ParseUint(last, 10, 31)
	if errA != nil || errB != nil || a == 0 || b < a {
		return Users{}, fmt.Errorf("%q is not a range of user ids such as %s", s, DefaultUsers)
	}
	return Users{First: uint32(a), Count: uint32(b - a + 1)}, nil
}

func (u Users) String() string { return fmt.Sprintf("%d-%d", u.First, u.First+u.Count-1) }

// userTable assigns user ids to machines, in turns. The ids of the machines that run already are read
// from libvirt, so nothing is remembered across restarts of the agent. They are read again when all
// ids have had their turn; until then, no id is assigned twice. So a start does not cost more on a
// node with more machines, and a process that outlives its machine meets no successor.
type userTable struct {
	users Users

	mu   sync.Mutex
	next uint32
	left uint32          // ids until the machines are read again
	used map[uint32]bool // by machines that ran when they were read
	held map[uint32]bool // by machines that are being started
}

func newUserTable(users Users, node uuid.UUID) *userTable {
	t := &userTable{users: users, held: map[uint32]bool{}}
	if users.Count > 0 {
		// Agents that share a libvirt begin at different ids.
		t.next = node.ID() % users.Count
	}
	return t
}

// take returns an id that no machine has. running returns the ids of the machines that run. The
// caller gives the id back with release, after the machine runs or has failed to start.
func (t *userTable) take(running func() (map[uint32]bool, error)) (uint32, error) {
	if id, ok := t.pick(); ok {
		return id, nil
	}
	// Machines that are being started now may be missing among the running ones. The lock is not
	// held meanwhile, because libvirt may hang.
	t.mu.Lock()
	starting := maps.Clone(t.held)
	t.mu.Unlock()
	used, err := running()
	if err != nil {
		return 0, err
	}
	maps.Copy(used, starting)
	t.mu.Lock()
	t.used, t.left = used, t.users.Count
	t.mu.Unlock()
	if id, ok := t.pick(); ok {
		return id, nil
	}
	return 0, fmt.Errorf("all user ids %s for machines are in use; give the agent a larger range with --machine-users", t.users)
}

// pick returns the next free id, unless all ids have had their turn.
func (t *userTable) pick() (uint32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.left > 0 {
		id := t.users.First + t.next
		t.next, t.left = (t.next+1)%t.users.Count, t.left-1
		if !t.used[id] && !t.held[id] {
			t.held[id] = true
			return id, true
		}
	}
	return 0, false
}

func (t *userTable) release(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.held, id)
	t.used[id] = true // until the machines are read again
}

// usedIDs returns the user ids of all machines of this libvirt, also of those that are not ours.
func usedIDs(c *libvirt.Connect) (map[uint32]bool, error) {
	all, err := c.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_ACTIVE)
	if err != nil {
		return nil, fmt.Errorf("list domains: %w", err)
	}
	used := make(map[uint32]bool, len(all))
	for i := range all {
		text, err := all[i].GetXMLDesc(0)
		_ = all[i].Free() //nolint:errcheck // it only drops a reference
		if is(err, libvirt.ERR_NO_DOMAIN) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("describe a domain: %w", err)
		}
		var d libvirtxml.Domain
		if err := xml.Unmarshal([]byte(text), &d); err != nil {
			return nil, fmt.Errorf("read a domain's description: %w", err)
		}
		if id, ok := userOf(d); ok {
			used[id] = true
		}
	}
	return used, nil
}

// userOfPod returns the user id of a pod's machine.
func userOfPod(c *libvirt.Connect, pod uuid.UUID) (uint32, error) {
	dom, err := c.LookupDomainByUUID(pod[:])
	if err != nil {
		return 0, fmt.Errorf("look up the domain of pod %s: %w", pod, err)
	}
	defer dom.Free() //nolint:errcheck // it only drops a reference
	text, err := dom.GetXMLDesc(0)
	if err != nil {
		return 0, fmt.Errorf("describe the domain of pod %s: %w", pod, err)
	}
	var d libvirtxml.Domain
	if err := xml.Unmarshal([]byte(text), &d); err != nil {
		return 0, fmt.Errorf("read a domain's description: %w", err)
	}
	id, ok := userOf(d)
	if !ok {
		return 0, fmt.Errorf("the machine of pod %s has no user of its own", pod)
	}
	return id, nil
}

// userOf returns the user id in a domain's static label, which is +UID:+GID or +UID:GROUP.
func userOf(d libvirtxml.Domain) (uint32, bool) {
	for _, label := range d.SecLabel {
		if label.Model != "dac" {
			continue
		}
		user, _, _ := strings.Cut(label.Label, ":")
		if id, err := strconv.ParseUint(strings.TrimPrefix(user, "+"), 10, 32); err == nil {
			return uint32(id), true
		}
	}
	return 0, false
}

// label returns the static label of a machine. The group is its own, too: libvirt gives the group of
// a machine access to the directory with the machine's sockets.
func label(id uint32) string { return fmt.Sprintf("+%d:+%d", id, id) }

// libvirtDirs are the directories in which libvirt makes one for each machine. Debian's package gives
// them to the group of its own QEMU user.
var libvirtDirs = []string{"/var/lib/libvirt/qemu", "/var/lib/libvirt/qemu/channel", "/var/lib/libvirt/qemu/channel/target"}

// letThrough lets the users of machines pass through directories without listing them, and use KVM.
// It runs before each start, because an update of libvirt's package undoes it.
func letThrough(emulate bool) error {
	const pass, use = 0o001, 0o006
	for _, dir := range libvirtDirs {
		if err := allow(dir, pass); err != nil {
			return err
		}
	}
	if emulate {
		return nil
	}
	return allow("/dev/kvm", use) // as systemd's udev rules do by default
}

func allow(path string, others os.FileMode) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // libvirt makes the directory when it is needed
	}
	if err != nil || info.Mode()&others == others {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()|others)
}
