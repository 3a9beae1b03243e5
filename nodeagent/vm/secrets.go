// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"

	"github.com/google/uuid"
	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// secretID derives the UUID of the secret with a pod's Ceph key from the pod's id.
func secretID(pod uuid.UUID) uuid.UUID { return uuid.NewSHA1(pod, []byte("ceph")) }

// passphraseID derives the UUID of the secret with the passphrase of a pod's encrypted disk, of which this is the n-th.
func passphraseID(pod uuid.UUID, n int) uuid.UUID {
	return uuid.NewSHA1(pod, fmt.Appendf(nil, "passphrase %d", n))
}

// putSecrets defines all secrets of a machine. They exist only in libvirtd's memory, and nobody can read them there.
func putSecrets(c *libvirt.Connect, spec Spec) error {
	key, err := decodeKey(spec.CephKey)
	if err != nil {
		return err
	}
	usage := "husk-" + spec.PodID.String()
	if err := putSecret(c, secretID(spec.PodID), "ceph key of pod "+spec.PodID.String(), libvirtxml.SecretUsage{Type: "ceph", Name: usage}, key); err != nil {
		return err
	}
	n := 0
	for _, d := range spec.Disks {
		if d.Passphrase == "" {
			continue
		}
		usage := libvirtxml.SecretUsage{Type: "volume", Volume: fmt.Sprintf("%s-%d", usage, n)}
		if err := putSecret(c, passphraseID(spec.PodID, n), "passphrase of disk "+d.Serial+" of pod "+spec.PodID.String(), usage, []byte(d.Passphrase)); err != nil {
			return fmt.Errorf("disk %s: %w", d.Serial, err)
		}
		n++
	}
	return nil
}

func putSecret(c *libvirt.Connect, id uuid.UUID, description string, usage libvirtxml.SecretUsage, value []byte) error {
	x := libvirtxml.Secret{Ephemeral: "yes", Private: "yes", UUID: id.String(), Description: description, Usage: &usage}
	text, err := x.Marshal()
	if err != nil {
		return err
	}
	s, err := c.SecretDefineXML(text, 0)
	if err != nil {
		return err
	}
	defer s.Free() //nolint:errcheck // it only drops a reference
	return s.SetValue(value, 0)
}

// removeSecrets removes what putSecrets has defined. The passphrases go from the last one to the first, so that an interruption leaves no gap, at which
// the next attempt would end.
func removeSecrets(c *libvirt.Connect, pod uuid.UUID) error {
	last := 0
	for ; ; last++ {
		s, err := c.LookupSecretByUUIDString(passphraseID(pod, last).String())
		if is(err, libvirt.ERR_NO_SECRET) {
			break
		}
		if err != nil {
			return fmt.Errorf("find the secrets of pod %s: %w", pod, err)
		}
		_ = s.Free() //nolint:errcheck // it only drops a reference
	}
	for n := last - 1; n >= 0; n-- {
		if err := removeSecret(c, passphraseID(pod, n)); err != nil {
			return fmt.Errorf("remove the secrets of pod %s: %w", pod, err)
		}
	}
	if err := removeSecret(c, secretID(pod)); err != nil {
		return fmt.Errorf("remove the ceph secret of pod %s: %w", pod, err)
	}
	return nil
}

func removeSecret(c *libvirt.Connect, id uuid.UUID) error {
	s, err := c.LookupSecretByUUIDString(id.String())
	if err == nil {
		err = s.Undefine()
		_ = s.Free() //nolint:errcheck // it only drops a reference
	}
	if is(err, libvirt.ERR_NO_SECRET) {
		return nil
	}
	return err
}
