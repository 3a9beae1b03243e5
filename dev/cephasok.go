// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// asok returns the path of a Ceph daemon's admin socket.
func (s *Stack) asok(daemon string) string { return s.dir.join("ceph", "ceph-"+daemon+".asok") }

// asokState asks a Ceph daemon on its admin socket whether it is in the wanted state. The mon
// cannot be asked about the OSD: after an unclean end it still considers the previous OSD process
// up.
func asokState(ctx context.Context, socket, command, want string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := fmt.Fprintf(conn, "{\"prefix\": %q}\x00", command); err != nil {
		return err
	}
	var size uint32
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return err
	}
	var status struct{ State string }
	if err := json.NewDecoder(io.LimitReader(conn, int64(size))).Decode(&status); err != nil {
		return err
	}
	if status.State != want {
		return fmt.Errorf("%s: state is %q, not yet %q", command, status.State, want)
	}
	return nil
}
