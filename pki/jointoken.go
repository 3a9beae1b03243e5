package pki

import (
	"encoding/hex"
	"errors"
	"strings"
)

// NewJoinToken puts a secret and the authority's fingerprint into one text: the secret admits the node to the server, and the
// fingerprint lets the node recognise the server, whose authority it has never seen.
func NewJoinToken(secret string, root *Root) string { return secret + "." + root.Fingerprint() }

// SplitJoinToken takes a join token apart.
func SplitJoinToken(token string) (secret, fingerprint string, err error) {
	secret, fingerprint, _ = strings.Cut(token, ".")
	if raw, err := hex.DecodeString(fingerprint); err != nil || len(raw) != 32 || secret == "" {
		return "", "", errors.New("this is not a join token: it should be a secret, a full stop and 64 hexadecimal digits")
	}
	return secret, strings.ToLower(fingerprint), nil
}
