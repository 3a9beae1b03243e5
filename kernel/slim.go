package kernel

import (
	"bytes"
	"encoding/binary"
)

// signatureMark ends a signed module. Before it stand struct module_signature,
// whose last four bytes are the length of the signature, and before that the
// signature itself (include/linux/module_signature.h).
const (
	signatureMark   = "~Module signature appended~\n"
	signatureStruct = 12
)

// slim takes from a module what costs an emulated CPU time and brings a pod
// nothing: its signature, which proves to a guest only what its own initramfs
// says, and its BTF, which is for tracing. The section is renamed rather than
// cut out, so nothing else moves.
func slim(module []byte) []byte {
	if rest, signed := bytes.CutSuffix(module, []byte(signatureMark)); signed && len(rest) >= signatureStruct {
		length := int(binary.BigEndian.Uint32(rest[len(rest)-4:]))
		if end := len(rest) - signatureStruct - length; end >= 0 {
			module = rest[:end]
		}
	}
	return bytes.Replace(module, []byte("\x00.BTF\x00"), []byte("\x00.xTF\x00"), 1)
}
