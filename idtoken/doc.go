// SPDX-License-Identifier: Apache-2.0

// Package idtoken verifies ID tokens of OpenID Connect issuers that tenants configure. Both sides
// can be hostile: a token can contain anything, and an issuer can be slow, unavailable or
// malicious.
//
// A token is first parsed strictly and checked without the issuer (token.go, claims.go): its form,
// issuer, audience and times. Only then are the issuer's keys needed (cache.go), which are found by
// discovery (discover.go) and cached. Whatever tokens contain and however many there are, they
// cause at most one request for keys per issuer in ten seconds. Package egress decides where an
// issuer may be.
//
// Sources: OpenID Connect Core 1.0 (the rules for ID tokens are in §2 and §3.1.3.7), OpenID Connect
// Discovery 1.0, RFC 7515 to 7519 and 8037 (JOSE), RFC 8725 (known attacks on JWTs).
//
// The package imports egress and strictjson. It does not know tenants or HTTP handlers.
package idtoken
