// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sys/unix"

	"husk/egress"
)

// ImageError says why an image cannot be read from its registry, or used.
type ImageError struct {
	Kind     error `json:"-"` // one of Kinds
	Cause    error `json:"-"` // for the operator: it can name addresses that the owner of the image must not learn
	Image    string
	Registry string // the host that the reference names
	// Host is the host that was asked, if it is another one: the registry's token server, or where the registry redirects to.
	Host       string        `json:",omitempty"`
	Status     int           `json:",omitempty"` // of the HTTP response
	RetryAfter time.Duration `json:",omitempty"` // how long the registry wants the client to wait; zero if it does not say
	Why        string        `json:",omitempty"` // more about the kind, for the owner of the image
}

func (f *ImageError) Error() string { return fmt.Sprintf("image %s: %v: %v", f.Image, f.Kind, f.Cause) }

// Unwrap makes errors.Is find the kind and the cause.
func (f *ImageError) Unwrap() []error { return []error{f.Kind, f.Cause} }

// Detail is a text for the owner of the image: what happened, and at which registry.
func (f *ImageError) Detail() string {
	asked := "the registry " + f.Registry
	if f.Host != "" {
		asked = fmt.Sprintf("the host %q, to which the registry %s refers,", f.Host, f.Registry)
	}
	because := ""
	if f.Why != "" {
		because = ": " + f.Why
	}
	switch f.Kind {
	case ErrBadReference: //nolint:errorlint // the kind is one of Kinds, not wrapped
		return "the text is not a valid image reference"
	case ErrNotFound:
		return asked + " has no such image"
	case ErrUnauthorized:
		return asked + " requires credentials, or rejected these"
	case ErrUnknownHost:
		name := f.Registry
		if f.Host != "" {
			name = f.Host
		}
		return fmt.Sprintf("the name %q of the registry does not resolve to an address that this platform connects to", name)
	case ErrCutOff:
		return asked + " cut the connection"
	case ErrForbidden:
		return asked + " is at an address that this platform does not connect to, or redirects to one"
	case ErrNoPlatform:
		return "the image has no variant for linux/amd64" + because
	case ErrTooLarge:
		return "the image is larger than this platform imports" + because
	case ErrBadImage:
		return "the image is damaged or not a valid OCI image" + because
	case ErrTooSlow:
		return asked + " sends the image too slowly"
	case ErrRateLimited:
		if f.RetryAfter > 0 {
			return fmt.Sprintf("%s limits requests (status 429) and accepts more in %s", asked, f.RetryAfter)
		}
		return asked + " limits requests (status 429)"
	case ErrOverloaded:
		return strings.TrimSpace(fmt.Sprintf("%s responds with status %d %s", asked, f.Status, http.StatusText(f.Status)))
	default:
		return asked + " " + f.Why
	}
}

// fail classifies an error of talking to a registry. It leaves errors of the caller as they are.
func (c *client) fail(reference string, err error) error {
	if _, done := errors.AsType[*ImageError](err); done || err == nil {
		return err
	}
	if errors.Is(err, context.Canceled) { // by the caller
		return fmt.Errorf("image %s: %w", reference, err)
	}
	f := &ImageError{Cause: err, Image: reference, Registry: c.repo.RegistryStr()}
	for _, kind := range Kinds {
		if errors.Is(err, kind) {
			f.Kind = kind
			_, why, _ := strings.Cut(err.Error(), kind.Error()+": ")
			f.Why = shown(why)
			return f
		}
	}
	f.Why, f.Kind = kindOf(err)
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		f.Status = answer.StatusCode
		f.Kind = kindOfStatus(answer.StatusCode)
	}
	if f.Status > 0 {
		f.RetryAfter = time.Duration(c.guard.retryAfter.Load())
	}
	if host, ok := c.guard.failedAt.Load().(string); ok && host != f.Registry {
		f.Host = shown(host)
	}
	return f
}

// kindOf returns a text for the owner of the image, and the kind of an error without a response.
func kindOf(err error) (why string, kind error) {
	timeout, isNet := errors.AsType[net.Error](err)
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	_, isType := errors.AsType[*json.UnmarshalTypeError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, isTLS := errors.AsType[tls.RecordHeaderError](err)
	_, isOp := errors.AsType[*net.OpError](err)
	refused, isRefused := errors.AsType[*egress.RefusedError](err)
	switch {
	case isRefused && refused.Obvious():
		// Only if the reference itself has the address.
		return "", ErrForbidden
	case isRefused, isDNS:
		// A name that DNS resolves to a forbidden address looks like a name that does not resolve: the tenant must not learn what
		// DNS answers.
		return "", ErrUnknownHost
	case isSyntax, isType:
		return "its manifest or configuration is not valid JSON", ErrBadImage
	case isCertificate, isTLS:
		return "has no valid TLS certificate", ErrUnreachable
	case errors.Is(err, unix.ECONNREFUSED):
		return "refuses connections", ErrUnreachable
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "does not respond in time", ErrUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, net.ErrClosed):
		return "", ErrCutOff
	case isOp:
		return "cannot be reached", ErrUnreachable
	default:
		return "does not respond as a registry does", ErrUnreachable
	}
}

func kindOfStatus(status int) error {
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrUnauthorized
	case http.StatusTooManyRequests:
		return ErrRateLimited
	default:
		return ErrOverloaded
	}
}

// shown bounds a text that an image or a registry determines, for messages.
func shown(text string) string {
	const longest = 200
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
