// SPDX-License-Identifier: Apache-2.0

package pid1

import (
	"slices"

	"husk/guest"
	"husk/guest/disks"
)

func (l *linux) freeze(serial string) error {
	v, err := l.volume(serial)
	if err != nil {
		return err
	}
	return l.frozen.Freeze(v)
}

func (l *linux) thaw(serial string) error {
	v, err := l.volume(serial)
	if err != nil {
		return err
	}
	return l.frozen.Thaw(v)
}

func (l *linux) volume(serial string) (disks.Volume, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.volumes, func(v disks.Volume) bool { return v.Serial == serial })
	if i < 0 {
		return disks.Volume{}, &guest.CallError{Code: guest.CodeNotFound, Message: "no such volume"}
	}
	return l.volumes[i], nil
}
