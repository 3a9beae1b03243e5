// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// ETag returns a strong entity tag (RFC 9110, 8.8.3) of an object in the form that the API shows. It changes whenever the object does.
func ETag(object any) string {
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err) // every type of the vocabulary can be encoded
	}
	sum := sha256.Sum256(raw)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}
