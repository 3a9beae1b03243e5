// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"encoding/hex"
	"errors"
	"strings"
)

// NewJoinToken combines a secret and the authority's fingerprint in one text. The secret
// authenticates the node to the server. With the fingerprint the node recognizes the server, whose
// authority it does not know yet.
func NewJoinToken(secret string, root *Root) string { return secret + "." + root.Fingerprint() }

// SplitJoinToken splits a join token into its parts.
func SplitJoinToken(token string) (secret, fingerprint string, err error) {
	secret, fingerprint, _ = strings.Cut(token, ".")
	if raw, err := hex.DecodeString(fingerprint); err != nil || len(raw) != 32 || secret == "" {
		return "", "", errors.New("this is not a join token: want a secret, a period and 64 hexadecimal digits")
	}
	return secret, strings.ToLower(fingerprint), nil
}
