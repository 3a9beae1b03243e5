// SPDX-License-Identifier: Apache-2.0

package idtoken

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	// leeway is by how much the issuer's clock may differ from the server's.
	leeway = 30 * time.Second
	// maxSubject is in ASCII characters (OpenID Connect Core §2).
	maxSubject = 255
	// maxText limits the other texts, in bytes.
	maxText = 1 << 10
)

// Claims are the claims of a verified token. Email and Name are only informative: authorize by
// Issuer and Subject, or by other claims in Raw for which the issuer is trusted.
type Claims struct {
	Issuer        string
	Subject       string // unique at the issuer; printable ASCII
	Email         string // "" if missing
	EmailVerified bool
	Name          string // "" if missing
	Expires       time.Time
	Raw           map[string]any // all claims as encoding/json decodes them, numbers as json.Number
}

// check checks a token's claims. They can only be trusted after the signature is verified. It
// returns a *RefusedError.
func check(c map[string]any, issuer, clientID string, now time.Time) (Claims, error) {
	none := Claims{}
	if iss, _ := c["iss"].(string); iss == "" || iss != issuer {
		return none, refuse("it is of another issuer", fmt.Errorf("iss is %q", c["iss"]))
	}
	if err := checkAudience(c, clientID); err != nil {
		return none, err
	}
	expires, err := checkTimes(c, now)
	if err != nil {
		return none, err
	}
	subject, _ := c["sub"].(string)
	if subject == "" || len(subject) > maxSubject || strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }) {
		return none, refuse(fmt.Sprintf("its subject is not 1 to %d printable ASCII characters", maxSubject), nil)
	}
	out := Claims{Issuer: issuer, Subject: subject, Expires: expires, Raw: c}
	if out.Email, err = text(c, "email"); err != nil {
		return none, err
	}
	if out.Name, err = text(c, "name"); err != nil {
		return none, err
	}
	// Some issuers write the boolean as a string.
	out.EmailVerified = out.Email != "" && (c["email_verified"] == true || c["email_verified"] == "true")
	return out, nil
}

// checkAudience checks that the token was made for the client (OpenID Connect Core §3.1.3.7, 3 to
// 5).
func checkAudience(c map[string]any, clientID string) error {
	var audiences []any
	switch aud := c["aud"].(type) {
	case string:
		audiences = []any{aud}
	case []any:
		audiences = aud
	}
	if clientID == "" || !slices.Contains(audiences, any(clientID)) {
		return refuse("it is made for another client", fmt.Errorf("aud is %q", c["aud"]))
	}
	if len(audiences) > 1 && c["azp"] != clientID {
		return refuse("it is made for several clients, and was issued to another one", fmt.Errorf("azp is %q", c["azp"]))
	}
	return nil
}

// checkTimes returns when the token expires.
func checkTimes(c map[string]any, now time.Time) (time.Time, error) {
	times := map[string]time.Time{}
	for _, name := range []string{"exp", "iat", "nbf"} {
		v, given := c[name]
		if !given {
			continue
		}
		at, err := numericDate(v)
		if err != nil {
			return time.Time{}, refuse(fmt.Sprintf("its %q is not a time", name), err)
		}
		times[name] = at
	}
	expires, given := times["exp"]
	switch {
	case !given:
		return time.Time{}, refuse("it has no expiry time", nil)
	case !now.Before(expires.Add(leeway)):
		return time.Time{}, refuse("it has expired", nil)
	}
	for _, name := range []string{"iat", "nbf"} { // a missing one is the zero time, which is past
		if now.Before(times[name].Add(-leeway)) {
			return time.Time{}, refuse("it is not valid yet; check the clocks of the issuer and the server", nil)
		}
	}
	return expires, nil
}

// numericDate reads seconds since 1970, with or without a fraction (RFC 7519 §2), up to the year
// 9999.
func numericDate(v any) (time.Time, error) {
	number, ok := v.(json.Number)
	if !ok {
		return time.Time{}, fmt.Errorf("%T", v)
	}
	seconds, err := number.Float64()
	if err != nil {
		return time.Time{}, err
	}
	const year9999 = 253402300799
	if seconds < 0 || seconds > year9999 {
		return time.Time{}, fmt.Errorf("%s is out of range", number)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), nil
}

// text returns a claim that is shown and stored, or "" if it is missing.
func text(c map[string]any, name string) (string, error) {
	v, given := c[name]
	if !given || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return "", refuse(fmt.Sprintf("its %q is not a text of up to %d bytes", name, maxText), nil)
	}
	return s, nil
}
