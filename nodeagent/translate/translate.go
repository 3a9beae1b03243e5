// SPDX-License-Identifier: Apache-2.0

// Package translate converts the server's description of a pod to those of the network, libvirt and the guest, and back.
package translate

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"husk"
	"husk/guest"
	"husk/nodeagent/network"
	"husk/nodeagent/vm"
	"husk/openapi"
)

// Ports returns the pod's ports in its networks, the first one first.
func Ports(desired husk.DesiredPod) ([]network.Port, error) {
	networks := desired.Networks()
	if len(networks) > husk.MaxInterfaces {
		return nil, fmt.Errorf("the pod has %d interfaces, and this agent knows %d", len(networks), husk.MaxInterfaces)
	}
	ports := make([]network.Port, 0, len(networks))
	for i, n := range networks {
		p := network.Port{PodID: desired.ID, NetworkID: n.ID, Position: i}
		var failures [5]error
		p.Address, failures[0] = netip.ParsePrefix(n.Address)
		p.MAC, failures[1] = net.ParseMAC(n.MAC)
		if n.Gateway != "" {
			p.Gateway, failures[2] = netip.ParseAddr(n.Gateway)
		}
		if n.Address6 != "" {
			p.Address6, failures[3] = netip.ParsePrefix(n.Address6)
		}
		if n.Gateway6 != "" {
			p.Gateway6, failures[4] = netip.ParseAddr(n.Gateway6)
		}
		if err := errors.Join(failures[:]...); err != nil {
			return nil, fmt.Errorf("network %s: %w", n.ID, err)
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// share returns the memory that a machine has in addition to what its pod asks for. A pod that an earlier version placed was not charged
// for it, and gets none.
func share(chargedMiB, overheadMiB int) int {
	return max(0, min(chargedMiB-overheadMiB, guest.ShareMiB))
}

// Machine returns the pod's virtual machine.
func Machine(desired husk.DesiredPod, ports []network.Port, mtu, overheadMiB int) (vm.Spec, error) {
	spec := vm.Spec{
		PodID: desired.ID, TenantID: desired.TenantID, Placement: desired.Placement, Generation: desired.Generation, CPUs: (desired.Resources.CPUMillis + 999) / 1000,
		MemoryMiB: desired.Resources.MemoryMiB + share(desired.VMMOverheadMiB, overheadMiB), CephUser: desired.Ceph.User, CephKey: desired.Ceph.Key,
		ScratchGiB: desired.ScratchGiB, MTU: mtu,
	}
	for _, p := range ports {
		spec.Cards = append(spec.Cards, vm.Card{Tap: p.Tap(), MAC: p.MAC.String()})
	}
	for _, m := range desired.Ceph.Monitors {
		host, p, err := net.SplitHostPort(m)
		if err != nil {
			return vm.Spec{}, fmt.Errorf("ceph monitor %q: %w", m, err)
		}
		spec.Monitors = append(spec.Monitors, vm.Address{Host: host, Port: p})
	}
	for _, d := range desired.Disks {
		spec.Disks = append(spec.Disks, vm.Disk{Pool: d.Pool, Name: d.Name, Serial: d.Serial, ReadOnly: d.ReadOnly, SizeGiB: d.SizeGiB, Passphrase: string(d.Passphrase), Limits: Limits(d)})
	}
	return spec, nil
}

// Limits returns the limits of a disk's class; nil: it shares the limits of its pod.
func Limits(d husk.DesiredDisk) *vm.DiskLimits {
	if d.Limits == nil {
		return nil
	}
	positive := func(n int) uint64 { return uint64(max(0, n)) }
	return &vm.DiskLimits{BytesPerSecond: positive(d.Limits.MiBPerSecond) << 20, OperationsPerSecond: positive(d.Limits.IOPS)}
}

// Guest returns what husk-init needs to know about the pod.
func Guest(desired husk.DesiredPod, mtu int) (guest.Spec, error) {
	ports, err := Ports(desired)
	if err != nil {
		return guest.Spec{}, err
	}
	spec := guest.Spec{
		PodID: desired.ID.String(), Hostname: desired.HostnameOr(desired.Name), Generation: 1, RestartPolicy: string(desired.RestartPolicy), FSGroup: desired.FSGroup,
		ShmSizeMiB: cmp.Or(desired.ShmSizeMiB, desired.Resources.MemoryMiB/2), GraceMillis: int64(desired.GracePeriodSeconds) * 1000, DeadlineMillis: int64(desired.DeadlineSeconds) * 1000,
		Network: &guest.Network{Card: card(ports[0], mtu), Nameservers: []netip.Addr{network.NamesAddress}},
	}
	for _, p := range ports[1:] {
		spec.Network.More = append(spec.Network.More, card(p, mtu))
	}
	if err := setNames(&spec, desired.HostSettings, desired.Network.NamesSuffix); err != nil {
		return guest.Spec{}, err
	}
	if desired.ScratchGiB > 0 {
		spec.ScratchSerial = vm.ScratchSerial
	}
	for _, v := range desired.Volumes {
		volume := guest.Volume{Name: v.Name, Serial: v.Serial, FSType: cmp.Or(v.FSType, guest.Ext4Type), ReadOnly: v.ReadOnly}
		switch {
		case v.EmptyDir != nil:
			volume.FSType, volume.Memory, volume.SizeMiB = guest.EmptyType, v.EmptyDir.Memory, v.EmptyDir.SizeMiB
		case v.Serial == "":
			volume.FSType = guest.FilesType
		}
		for _, f := range v.Files {
			gf, err := guestFile(husk.File{Path: f.Path, ContentBase64: f.ContentBase64, Mode: f.Mode})
			if err != nil {
				return guest.Spec{}, fmt.Errorf("file %s of volume %s: %w", f.Path, v.Name, err)
			}
			if desired.FSGroup != nil {
				gf.GID, gf.Mode = *desired.FSGroup, gf.Mode|0o040
			}
			volume.Files = append(volume.Files, gf)
		}
		spec.Volumes = append(spec.Volumes, volume)
	}
	for _, c := range desired.Containers {
		gc := guest.Container{
			Name: c.Name, ImageSerial: c.ImageSerial, Args: c.Args, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
			Stdin: c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY, Privileged: c.Privileged, Init: c.Init, StartOnAttach: c.StartOnAttach,
		}
		if gc.Options, err = openapi.Recast[guest.Options](c.ContainerOptions); err != nil { // they have the same JSON form
			return guest.Spec{}, err
		}
		if desired.FSGroup != nil {
			gc.Groups = append(gc.Groups, strconv.FormatUint(uint64(*desired.FSGroup), 10))
		}
		if gc.TerminationMessagePath == "" {
			gc.TerminationMessagePath = husk.DefaultTerminationMessagePath
		}
		for _, m := range c.VolumeMounts {
			gc.Mounts = append(gc.Mounts, guest.Mount{Volume: m.Volume, Path: m.MountPath, SubPath: m.SubPath, ReadOnly: m.ReadOnly})
		}
		for _, f := range c.Files {
			gf, err := guestFile(f)
			if err != nil {
				return guest.Spec{}, fmt.Errorf("file %s of container %s: %w", f.Path, c.Name, err)
			}
			gc.Files = append(gc.Files, gf)
		}
		spec.Containers = append(spec.Containers, gc)
	}
	return spec, nil
}

func card(p network.Port, mtu int) guest.Card {
	return guest.Card{MAC: p.MAC.String(), Address: p.Address, Gateway: p.Gateway, Address6: p.Address6, Gateway6: p.Gateway6, MTU: mtu}
}

// setNames sets the names that the pod knows.
func setNames(spec *guest.Spec, h husk.HostSettings, suffix string) error {
	for _, a := range h.HostAliases {
		ip, err := netip.ParseAddr(a.IP)
		if err != nil {
			return fmt.Errorf("hostAliases: %w", err)
		}
		spec.HostAliases = append(spec.HostAliases, guest.HostAlias{IP: ip, Hostnames: a.Hostnames})
	}
	for _, s := range h.Sysctls {
		spec.Sysctls = append(spec.Sysctls, guest.Sysctl(s))
	}
	if suffix != "" {
		spec.Network.Search = []string{suffix, "pods." + suffix}
	}
	if h.DNSPolicy == husk.DNSNone {
		spec.Network.Nameservers, spec.Network.Search = nil, nil
	}
	if h.DNSConfig == nil {
		return nil
	}
	for _, text := range h.DNSConfig.Nameservers {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("dnsConfig: %w", err)
		}
		spec.Network.Nameservers = append(slices.Clip(spec.Network.Nameservers), a)
	}
	spec.Network.Search = append(slices.Clip(spec.Network.Search), h.DNSConfig.Searches...)
	for _, o := range h.DNSConfig.Options {
		option := o.Name
		if o.Value != "" {
			option += ":" + o.Value
		}
		spec.Network.Options = append(spec.Network.Options, option)
	}
	return nil
}

func guestFile(f husk.File) (guest.File, error) {
	content := []byte(f.Content)
	if f.ContentBase64 != "" {
		var err error
		if content, err = base64.StdEncoding.DecodeString(f.ContentBase64); err != nil {
			return guest.File{}, err
		}
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(f.Mode, "0"), 8, 32)
	return guest.File{Path: f.Path, Content: content, Mode: uint32(mode), UID: f.UID, GID: f.GID}, err
}

// Statuses returns the status of each container that the pod's spec names, and of no
// other: the guest may list any.
func Statuses(from []guest.ContainerStatus, desired husk.DesiredPod) []husk.ContainerStatus {
	states := map[string]string{
		guest.StateWaiting: husk.ContainerWaiting, guest.StateRunning: husk.ContainerRunning, guest.StateExited: husk.ContainerExited,
	}
	to := make([]husk.ContainerStatus, 0, len(desired.Containers))
	for _, d := range desired.Containers {
		i := slices.IndexFunc(from, func(c guest.ContainerStatus) bool { return c.Name == d.Name })
		if i < 0 {
			continue
		}
		c := from[i]
		s := husk.ContainerStatus{Name: c.Name, State: states[c.State], Reason: c.Reason, Message: c.Message, Restarts: c.Restarts}
		if !c.StartedAt.IsZero() {
			s.StartedAt = &c.StartedAt
		}
		if !c.FinishedAt.IsZero() {
			s.FinishedAt = &c.FinishedAt
		}
		if !c.NextRestartAt.IsZero() {
			s.NextStartAt, s.LastReason = &c.NextRestartAt, lastReason(c)
		}
		s.Ready = new(c.State == guest.StateRunning && (c.Ready == nil || *c.Ready))
		if c.State == guest.StateExited {
			s.ExitCode = &c.ExitCode
		} else {
			s.ExitCode = c.LastExitCode
		}
		to = append(to, s)
	}
	return to
}

// lastReason says how the run ended after which a container waits.
func lastReason(c guest.ContainerStatus) string {
	switch {
	case c.LastReason != "": // a guest of an earlier version does not say
		return c.LastReason
	case c.Reason == guest.ReasonStartError:
		return guest.ReasonStartError
	case c.OOMKilled:
		return guest.ReasonOOMKilled
	case c.LastExitCode != nil && *c.LastExitCode != 0:
		return guest.ReasonError
	default:
		return guest.ReasonCompleted
	}
}
