// SPDX-License-Identifier: Apache-2.0

// Package luks makes the header of an encrypted disk, and encrypts what is written to the disk before its first use. It imports nothing of Husk.
//
// The format is version 1 of LUKS ("LUKS1 On-Disk Format Specification", 1.2.3), which QEMU, the Linux kernel and librbd open. The package does not
// read headers, so one that a pod has written cannot mislead the server.
package luks

import (
	"crypto/aes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"
	"golang.org/x/crypto/xts"
)

const (
	// HeaderBytes is how much larger an encrypted disk is than its content: one object of RBD, so that both have the same borders of objects.
	HeaderBytes = 4 << 20
	// SectorBytes is the unit of encryption.
	SectorBytes = 512

	keyBytes = 64 // of AES-256 in XTS mode, which uses two keys
	stripes  = 4000
	slots    = 8
	// iterations of PBKDF2 make a weak passphrase hard to guess. Ours has 256 random bits, and QEMU would need the time for them at every start.
	// This is the least that cryptsetup accepts.
	iterations = 1000
	// firstSlot and slotSectors say where the key material is, in sectors, aligned to 4 KiB as in the specification.
	firstSlot   = 8
	slotSectors = (keyBytes*stripes/SectorBytes + 7) / 8 * 8
)

// NewPassphrase returns 256 random bits in text form.
func NewPassphrase() string {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) //nolint:errcheck // it never fails
	return base64.StdEncoding.EncodeToString(secret)
}

// Disk encrypts the content of one disk.
type Disk struct{ cipher *xts.Cipher }

// New makes the header of a new disk, of at most HeaderBytes, which this passphrase opens. The rest of HeaderBytes stays unused.
func New(passphrase string) (*Disk, []byte, error) {
	master := make([]byte, keyBytes)
	_, _ = rand.Read(master) //nolint:errcheck // it never fails
	cipher, err := xts.NewCipher(aes.NewCipher, master)
	if err != nil {
		return nil, nil, err
	}
	header := make([]byte, (firstSlot+slotSectors)*SectorBytes)
	copy(header, "LUKS\xba\xbe\x00\x01")
	copy(header[8:], "aes")
	copy(header[40:], "xts-plain64")
	copy(header[72:], "sha256")
	put := func(at int, value uint32) { binary.BigEndian.PutUint32(header[at:], value) }
	put(104, HeaderBytes/SectorBytes)
	put(108, keyBytes)
	const digestBytes, saltBytes = 20, 32
	digestSalt := header[132 : 132+saltBytes]
	_, _ = rand.Read(digestSalt) //nolint:errcheck // it never fails
	digest, err := pbkdf2.Key(sha256.New, string(master), digestSalt, iterations, digestBytes)
	if err != nil {
		return nil, nil, err
	}
	copy(header[112:], digest)
	put(164, iterations)
	copy(header[168:], uuid.NewString())
	const enabled, disabled = 0x00AC71F3, 0x0000DEAD
	for slot := range slots {
		at := 208 + 48*slot
		put(at, disabled)
		put(at+40, uint32(firstSlot+slotSectors*slot)) //nolint:gosec // a small number
		put(at+44, stripes)
	}
	put(208, enabled)
	put(212, iterations)
	salt := header[216 : 216+saltBytes]
	_, _ = rand.Read(salt) //nolint:errcheck // it never fails
	derived, err := pbkdf2.Key(sha256.New, passphrase, salt, iterations, keyBytes)
	if err != nil {
		return nil, nil, err
	}
	slotCipher, err := xts.NewCipher(aes.NewCipher, derived)
	if err != nil {
		return nil, nil, err
	}
	material := header[firstSlot*SectorBytes:][:keyBytes*stripes]
	split(master, material)
	(&Disk{slotCipher}).Encrypt(material, 0)
	return &Disk{cipher}, header, nil
}

// Encrypt encrypts whole sectors in place. at is their offset in the content, which begins HeaderBytes after the beginning of the disk.
func (d *Disk) Encrypt(sectors []byte, at int64) {
	for i := 0; i < len(sectors); i += SectorBytes {
		s := sectors[i : i+SectorBytes]
		d.cipher.Encrypt(s, s, uint64(at+int64(i))/SectorBytes) //nolint:gosec // not negative
	}
}

// split writes a key so that all stripes are needed to read it: a part of them that survives on a disk does not reveal it.
func split(key, stripesOfKey []byte) {
	sum := make([]byte, len(key))
	for ; len(stripesOfKey) > len(key); stripesOfKey = stripesOfKey[len(key):] {
		random := stripesOfKey[:len(key)]
		_, _ = rand.Read(random) //nolint:errcheck // it never fails
		for i, b := range random {
			sum[i] ^= b
		}
		diffuse(sum)
	}
	for i, b := range key {
		stripesOfKey[i] = sum[i] ^ b
	}
}

// diffuse replaces each part of a block by its hash.
func diffuse(block []byte) {
	for i := range len(block) / sha256.Size {
		part := block[i*sha256.Size:][:sha256.Size]
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, uint32(i)), part...)) //nolint:gosec // a small number
		copy(part, sum[:])
	}
}
