package husk

import "time"

// NodeCertificate is what is known of a certificate with which a node's agent shows who it is.
type NodeCertificate struct {
	Serial    string     `json:"serial"` // in hexadecimal digits
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
	RevokedAt *time.Time `json:"revokedAt,omitempty"`
}
