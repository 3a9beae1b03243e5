// SPDX-License-Identifier: Apache-2.0

package dev

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// cephKey is one user of the cluster and its caps per kind of daemon.
type cephKey struct {
	User   string
	Secret string
	caps   [][2]string // ordered: {"mon", "allow r"}, …
}

// newCephSecret makes a cephx secret like ceph-authtool: a type (1 is AES), the time of its
// creation, and 16 random bytes, preceded by their length.
func newCephSecret(now time.Time) string {
	raw := binary.LittleEndian.AppendUint16(nil, 1)
	raw = binary.LittleEndian.AppendUint32(raw, uint32(now.Unix()))
	raw = binary.LittleEndian.AppendUint32(raw, uint32(now.Nanosecond()))
	raw = binary.LittleEndian.AppendUint16(raw, 16)
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(append(raw, key...))
}

// keyring is Ceph's own file format for keys.
func keyring(keys ...cephKey) string {
	var out strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&out, "[%s]\n\tkey = %s\n", k.User, k.Secret)
		for _, c := range k.caps {
			fmt.Fprintf(&out, "\tcaps %s = \"%s\"\n", c[0], strings.ReplaceAll(c[1], `"`, `\"`))
		}
	}
	return out.String()
}
