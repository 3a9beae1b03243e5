// SPDX-License-Identifier: Apache-2.0

// Package pki is the installation's certificate authority, and the TLS configuration of servers and
// agents: they use mutual TLS, and nobody else can connect.
//
// The authority is created once and stored by the server (authority.go). It issues certificates to
// nodes and to server processes (issue.go). It uses only the public key of a node's request. A
// joining agent knows the authority by the fingerprint in its join token (jointoken.go). config.go
// has the TLS configuration of each of the four ends. Their certificates come from a Holder, so a
// renewed certificate is used from the next connection on. The package does no I/O except TLS, and
// imports only the standard library.
package pki
