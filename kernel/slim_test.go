// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/binary"
	"testing"
)

func TestASlimModuleHasNoSignatureAndNoBTF(t *testing.T) {
	t.Parallel()
	body := "ELF…\x00.text\x00.BTF\x00.BTF_ids\x00"
	signed := append([]byte(body), "signature"...)
	signed = append(signed, make([]byte, signatureStruct-4)...)
	signed = binary.BigEndian.AppendUint32(signed, uint32(len("signature")))
	signed = append(signed, signatureMark...)
	want := "ELF…\x00.text\x00.xTF\x00.BTF_ids\x00"
	for name, module := range map[string][]byte{"signed": signed, "not signed": []byte(body)} {
		if got := string(slim(module)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, odd := range []string{"", signatureMark, "short" + signatureMark} {
		slim([]byte(odd)) // must not panic
	}
}
