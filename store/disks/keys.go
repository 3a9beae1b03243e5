// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"husk"
	"husk/luks"
	"husk/store/db"
	"husk/store/envelope"
)

// A copy of an encrypted disk has the same header, so it opens with the same passphrase. Volumes and snapshots refer to the row of their passphrase, and
// the row goes with the last of them.

// keyOwner is what a passphrase is sealed for, so that one of another row does not open.
func keyOwner(id uuid.UUID) string { return "passphrase of disks " + id.String() }

// newKey stores a new passphrase.
func newKey(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant uuid.UUID) (*uuid.UUID, error) {
	id := uuid.New()
	sealed, err := keys.Seal(ctx, q, tenant, []byte(luks.NewPassphrase()), keyOwner(id))
	if err != nil {
		return nil, err
	}
	return &id, q.InsertDiskKey(ctx, db.InsertDiskKeyParams{TenantID: tenant, ID: id, Sealed: sealed})
}

// Passphrase returns the passphrase of a volume. It is empty if the volume is not encrypted.
func Passphrase(ctx context.Context, q *db.Queries, keys *envelope.Keys, v db.Volume) (husk.Secret, error) {
	if v.KeyID == nil {
		return "", nil
	}
	row, err := q.DiskKey(ctx, db.DiskKeyParams{TenantID: v.TenantID, ID: *v.KeyID})
	if err != nil {
		return "", err
	}
	return Open(ctx, q, keys, v.TenantID, v.KeyID, row.Sealed)
}

// Open opens a passphrase that is stored with this ID. Without an ID, it returns none.
func Open(ctx context.Context, q *db.Queries, keys *envelope.Keys, tenant uuid.UUID, id *uuid.UUID, sealed []byte) (husk.Secret, error) {
	if id == nil {
		return "", nil
	}
	plain, err := keys.Open(ctx, q, tenant, sealed, keyOwner(*id))
	if err != nil {
		return "", fmt.Errorf("passphrase %s of tenant %s: %w", id, tenant, err)
	}
	return husk.Secret(plain), nil
}

// keyOfCopy returns the key of a volume that is made from a snapshot. Codes: invalid.
func keyOfCopy(s db.Snapshot, v husk.Volume) (*uuid.UUID, error) {
	switch {
	case v.Encrypted && s.KeyID == nil:
		return nil, husk.Errorf(husk.CodeInvalid, "encrypted", "snapshot %q is not encrypted, and a volume that is made from it cannot be; create an empty encrypted volume, and copy the files in a pod", s.Name)
	case v.Unencrypted && s.KeyID != nil:
		return nil, husk.Errorf(husk.CodeInvalid, "encrypted", "snapshot %q is encrypted, so a volume that is made from it is, too", s.Name)
	}
	return s.KeyID, nil
}
