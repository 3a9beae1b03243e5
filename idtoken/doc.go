// Package idtoken verifies ID tokens of OpenID Connect issuers that tenants configure. Both sides are hostile: whoever sends a token
// writes what they like into it, and an issuer may be slow, down, or made to harm.
//
// A token is read strictly and judged without asking anybody (token.go, claims.go): its form, issuer, audience and times. Only then are
// the issuer's keys looked at (cache.go), which are found by discovery (discover.go) and kept; a token can cause at most one reading of
// them per issuer in ten seconds, whatever it says and however many there are. Where the issuer may be is for package egress to say.
//
// Sources: OpenID Connect Core 1.0 (the rules for ID tokens are in §2 and §3.1.3.7), OpenID Connect Discovery 1.0, RFC 7515 to 7519 and
// 8037 (JOSE), RFC 8725 (what goes wrong with JWTs).
//
// The package imports egress and strictjson, and knows neither tenants nor HTTP handlers.
package idtoken
