// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"encoding/binary"
)

// signatureMark ends a signed module. Before it is struct module_signature, whose last four bytes
// are the length of the signature, and before that the signature itself
// (include/linux/module_signature.h).
const (
	signatureMark   = "~Module signature appended~\n"
	signatureStruct = 12
)

// slim removes from a module what costs an emulated CPU time and is of no use to a pod: its
// signature, because the guest's own initramfs is already trusted, and its BTF, which is for
// tracing. It renames the section of the BTF instead of removing it, so nothing else moves.
func slim(module []byte) []byte {
	if rest, signed := bytes.CutSuffix(module, []byte(signatureMark)); signed && len(rest) >= signatureStruct {
		length := int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
		if end := len(rest) - signatureStruct - length; end >= 0 {
			module = rest[:end]
		}
	}
	return bytes.Replace(module, []byte("\x00.BTF\x00"), []byte("\x00.xTF\x00"), 1)
}
