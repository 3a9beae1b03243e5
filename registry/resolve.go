// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
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
}

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

// Resolve finds the linux/amd64 manifest to which a reference points now.
//
// Now and in Flatten it connects to hosts that the policy allows: the registry, its token server,
// and the targets of their redirects.
//
// It returns ErrBadReference, ErrNotFound, ErrUnauthorized, ErrUnreachable, ErrOverloaded,
// ErrForbidden, ErrNoPlatform, ErrTooLarge or ErrBadImage, wrapped. ErrForbidden is for a host that
// was given as an address or as localhost. Another name that resolves to a forbidden address is ErrUnreachable,
// and the wrapped egress.RefusedError has the details.
func Resolve(ctx context.Context, policy egress.Policy, reference string, auth Auth) (*Resolved, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrBadReference, reference)
	}
	c := newClient(policy, ref.Context(), auth)
	defer c.close()
	r, err := c.resolve(ctx, ref)
	return r, classify(reference, err)
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

var platform = v1.Platform{OS: "linux", Architecture: "amd64"}

func (c *client) options(ctx context.Context) []remote.Option {
	login := authn.Anonymous
	if c.auth != (Auth{}) {
		login = authn.FromConfig(authn.AuthConfig{Username: c.auth.Username, Password: c.auth.Password, RegistryToken: c.auth.Token})
	}
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuth(login), remote.WithPlatform(platform), remote.WithTransport(c.guard),
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
	if found.MediaType.IsIndex() {
		if err := hasPlatform(found); err != nil {
			return nil, err
		}
	}
	img, err := found.Image()
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrBadImage, err)
	}
	if len(manifest.Layers) > maxLayers || manifest.Config.Size > maxConfig {
		return nil, fmt.Errorf("%w: %d layers, config of %d bytes", ErrTooLarge, len(manifest.Layers), manifest.Config.Size)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if file.OS != platform.OS || file.Architecture != platform.Architecture {
		return nil, fmt.Errorf("%w: it is for %s/%s", ErrNoPlatform, file.OS, file.Architecture)
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	r := &Resolved{
		Reference: c.repo.Digest(digest.String()).Name(), Digest: digest.String(), Config: configOf(file.Config),
		Limits: DefaultLimits, policy: c.policy, repo: c.repo, auth: c.auth, layers: manifest.Layers,
	}
	for _, l := range manifest.Layers {
		if l.Size < 0 || l.Size > DefaultLimits.Bytes {
			return nil, fmt.Errorf("%w: a layer has %d bytes", ErrTooLarge, l.Size)
		}
		r.SizeBytes += l.Size
	}
	return r, nil
}

// hasPlatform distinguishes an index without linux/amd64 from an invalid one.
func hasPlatform(d *remote.Descriptor) error {
	index, err := d.ImageIndex()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return fmt.Errorf("%w: index: %w", ErrBadImage, err)
	}
	var others []string
	for _, m := range manifest.Manifests {
		if m.Platform == nil || m.Platform.Satisfies(platform) {
			return nil
		}
		others = append(others, m.Platform.String())
	}
	return fmt.Errorf("%w: it is for %s", ErrNoPlatform, strings.Join(others, ", "))
}

func configOf(c v1.Config) Config {
	return Config{
		Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Volumes)),
	}
}
