package husk

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// ETag is a strong entity tag (RFC 9110, 8.8.3) of an object as the API shows it: it changes whenever the object does.
func ETag(object any) string {
	raw, err := json.Marshal(object)
	if err != nil {
		panic(err) // our vocabulary can always be shown
	}
	sum := sha256.Sum256(raw)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}
