// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"fmt"
	"slices"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// CheckConfinement returns an error if libvirt runs QEMU without a mandatory access control of the
// kernel. Then a QEMU that an attacker controls has all that its user has on the node.
func CheckConfinement(uri string) error {
	conn, err := libvirt.NewConnect(uri)
	if err != nil {
		return fmt.Errorf("connect to libvirt at %s: %w", uri, err)
	}
	defer conn.Close() //nolint:errcheck // only read from
	text, err := conn.GetCapabilities()
	if err != nil {
		return fmt.Errorf("read the capabilities of libvirt at %s: %w", uri, err)
	}
	return checkConfinement(uri, text)
}

func checkConfinement(uri, capabilities string) error {
	var caps libvirtxml.Caps
	if err := caps.Unmarshal(capabilities); err != nil {
		return fmt.Errorf("read the capabilities of libvirt at %s: %w", uri, err)
	}
	confines := func(m libvirtxml.CapsHostSecModel) bool { return m.Name == "apparmor" || m.Name == "selinux" }
	if !slices.ContainsFunc(caps.Host.SecModel, confines) {
		return fmt.Errorf("neither AppArmor nor SELinux confines the machines of libvirt at %s", uri)
	}
	return nil
}
