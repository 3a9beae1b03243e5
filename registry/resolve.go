// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"husk/egress"
)

// Auth is how to log in to a registry; the zero value is anonymous.
type Auth struct {
	Username, Password string
	Token              string // a bearer token instead
}

// Config is how the image says that it should be run.
type Config struct {
	Entrypoint   []string
	Cmd          []string
	Env          []string
	WorkingDir   string
	User         string
	StopSignal   string
	ExposedPorts []string // "80/tcp", sorted
	Volumes      []string // paths, sorted
}

// Resolved is an image as resolved at one time. It identifies content, so it stays the same if
// its tag changes later.
type Resolved struct {
	Reference string // repository@digest
	Digest    string // of the linux/amd64 manifest
	SizeBytes int64  // compressed layers
	Config    Config
	Limits    Limits // for Flatten; may be changed before

	// Fetched, if set, is called by Flatten, in its own goroutine, with how many of SizeBytes have
	// been downloaded. It must return quickly.
	Fetched func(bytes int64)

	// SetsPrivileges is whether the files that Flatten wrote include set-user-ID or set-group-ID
	// programs, or programs with capabilities. It is valid after Flatten.
	SetsPrivileges bool

	policy egress.Policy
	repo   name.Repository
	auth   Auth
	layers []v1.Descriptor

	diffIDs []v1.Hash // of the layers, uncompressed
}

// Registry returns the host of the image's registry.
func (r *Resolved) Registry() string { return r.repo.RegistryStr() }

// Limits limit the resources of flattening.
type Limits struct {
	Bytes   int64 // all layers together, uncompressed
	Entries int   // all layers together, with directories that only the names of other entries imply
	// Metadata is the memory for the entries' names and attributes, in bytes. A small compressed layer
	// may have large attributes.
	Metadata int64
}

// DefaultLimits are enough for the largest images in use. Images for machine learning have up to
// half a million files.
var DefaultLimits = Limits{Bytes: 64 << 30, Entries: 2_000_000, Metadata: 512 << 20}

const (
	maxLayers = 512
	maxConfig = 4 << 20
)

// retried are the statuses that the library retries at once. It does not retry 429, because it ignores Retry-After.
var retried = []int{http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// Resolve finds the linux/amd64 manifest to which a reference points now.
//
// Now and in Flatten it connects to hosts that the policy allows: the registry, its token server,
// and the targets of their redirects.
//
// It returns a *ImageError. ErrForbidden is for a host that was given as an address or as localhost. Another name that resolves to a
// forbidden address is ErrUnknownHost, and the wrapped egress.RefusedError has the details.
func Resolve(ctx context.Context, policy egress.Policy, reference string, auth Auth) (*Resolved, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, &ImageError{Kind: ErrBadReference, Cause: err, Image: reference}
	}
	c := newClient(policy, ref.Context(), auth)
	defer c.close()
	r, err := c.resolve(ctx, ref)
	return r, c.fail(reference, err)
}

// client talks to one registry during one call.
type client struct {
	policy egress.Policy
	repo   name.Repository
	auth   Auth
	guard  *guard
}

func newClient(policy egress.Policy, repo name.Repository, auth Auth) *client {
	return &client{policy: policy, repo: repo, auth: auth, guard: newGuard(policy)}
}

func (c *client) close() { c.guard.close() }

func (c *client) options(ctx context.Context) []remote.Option {
	login := authn.Anonymous
	if c.auth != (Auth{}) {
		login = authn.FromConfig(authn.AuthConfig{Username: c.auth.Username, Password: c.auth.Password, RegistryToken: c.auth.Token})
	}
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(login), remote.WithTransport(c.guard), remote.WithRetryStatusCodes(retried...),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 3}),
	}
}

func (c *client) resolve(ctx context.Context, ref name.Reference) (*Resolved, error) {
	found, err := remote.Get(ref, c.options(ctx)...)
	if err != nil {
		return nil, err
	}
	if found.MediaType.IsSchema1() {
		return nil, fmt.Errorf("%w: manifest schema 1 is not supported", ErrBadImage)
	}
	img, file, err := pick(found)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrBadImage, err)
	}
	if len(manifest.Layers) != len(file.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%w: %d layers, and the configuration names %d", ErrBadImage, len(manifest.Layers), len(file.RootFS.DiffIDs))
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	r := &Resolved{
		Reference: c.repo.Digest(digest.String()).Name(), Digest: digest.String(), Config: configOf(file.Config),
		Limits: DefaultLimits, policy: c.policy, repo: c.repo, auth: c.auth, layers: manifest.Layers, diffIDs: file.RootFS.DiffIDs,
	}
	for _, l := range manifest.Layers {
		if l.Size < 0 || l.Size > DefaultLimits.Bytes {
			return nil, fmt.Errorf("%w: a layer has %d bytes", ErrTooLarge, l.Size)
		}
		r.SizeBytes += l.Size
	}
	return r, nil
}

func configOf(c v1.Config) Config {
	return Config{
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Volumes)),
	}
}
