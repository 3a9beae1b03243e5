// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// KernelHasVSwitch reports whether the kernel has the datapath of Open vSwitch. It loads the module if there is one.
var KernelHasVSwitch = sync.OnceValue(func() bool {
	const family = "ovs_datapath"
	if _, err := netlink.GenlFamilyGet(family); err == nil {
		return true
	}
	_ = exec.Command("modprobe", "openvswitch").Run() //nolint:noctx,errcheck // it does not wait; without the module, the next line fails
	_, err := netlink.GenlFamilyGet(family)
	return err == nil
})

// Exists reports whether this machine has an interface with this name.
func Exists(name string) bool {
	_, err := netlink.LinkByName(name)
	return err == nil
}

// RemoveUnusedTap removes a tap that no process uses. Open vSwitch makes its bridges such that they outlive it. It does not change
// anything if the interface does not exist, is in use or is no tap.
func RemoveUnusedTap(name string) error {
	if !Exists(name) {
		return nil
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tun.Close()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	fd := int(tun.Fd())
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0) // it ends when the file is closed
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}
