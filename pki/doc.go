// Package pki is the installation's certificate authority and what servers and agents do with its certificates: they speak to each
// other over mutual TLS, and nobody else is let in.
//
// The authority is made once and kept by the server (authority.go). It issues a certificate to each node, for the public key of the
// node's request and nothing else of it, and to each server process (issue.go). A joining agent knows the authority by the
// fingerprint in its join token (jointoken.go). config.go has the TLS configuration of each of the four ends; what they present comes from a
// Holder, so that a renewed certificate is used from the next connection on. The package does no I/O but TLS and imports the standard
// library only.
package pki
