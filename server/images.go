// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"husk"
	"husk/openapi"
	"husk/registry"
	"husk/server/control"
	"husk/server/request"
	"husk/server/watch"
	"husk/store"
)

// resolveTimeout is how long a registry can take to resolve a reference.
const resolveTimeout = 15 * time.Second

// ImportImage resolves the reference and accepts the import.
func (a api) ImportImage(ctx context.Context, r openapi.ImportImageRequestObject) (openapi.ImportImageResponseObject, error) {
	req := request.Of(ctx)
	auth, err := a.registryLogin(ctx, *r.Body)
	if err != nil {
		return nil, err
	}
	if err := a.auth.LimitOutbound(ctx, req.Caller.TenantID); err != nil {
		return nil, err
	}
	resolveCtx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	resolved, err := registry.Resolve(resolveCtx, a.egress, r.Body.Reference, control.RegistryAuth(auth))
	if errors.Is(err, registry.ErrForbidden) { // a mistake or an attack: the operator decides
		a.log.Warn("registry at a forbidden address", "request_id", req.ID, "tenant", req.Caller.TenantID, "error", err)
	}
	if err != nil {
		return nil, control.RegistryProblem(err)
	}
	config := husk.ImageConfig{
		Entrypoint: resolved.Config.Entrypoint, Cmd: resolved.Config.Cmd, Env: resolved.Config.Env, WorkingDir: resolved.Config.WorkingDir,
		User: resolved.Config.User, StopSignal: resolved.Config.StopSignal,
	}
	if err := config.Check(); err != nil {
		return nil, err
	}
	image, err := a.tenant(ctx).CreateImage(ctx, req.Idempotency(r.Params.IdempotencyKey), r.Body.Reference, resolved.Digest, config, auth)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.ImportImage201JSONResponse{Body: body, Headers: openapi.ImportImage201ResponseHeaders{ETag: request.ETag(image)}}, err
}

// loginKeys are the keys of a secret with logins: that of Kubernetes, and the name of docker's file.
var loginKeys = []string{".dockerconfigjson", "config.json"}

// registryLogin returns the login for an import, or nil.
func (a api) registryLogin(ctx context.Context, r openapi.ImageImport) (*store.RegistryAuth, error) {
	names := openapi.Value(r.RegistrySecrets)
	switch {
	case r.RegistryAuth != nil && len(names) > 0:
		return nil, husk.Errorf(husk.CodeInvalid, "registrySecrets", "give registryAuth or registrySecrets, not both")
	case r.RegistryAuth != nil:
		return &store.RegistryAuth{Username: r.RegistryAuth.Username, Password: r.RegistryAuth.Password}, nil
	}
	for i, name := range names {
		field := fmt.Sprintf("registrySecrets[%d]", i)
		values, err := a.tenant(ctx).Secret(ctx, name)
		if e, ok := errors.AsType[*husk.Error](err); ok {
			return nil, husk.Errorf(e.Code, field, "%s", e.Detail)
		}
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(loginKeys, func(key string) bool { return values[key] != nil })
		if at < 0 {
			return nil, husk.Errorf(husk.CodeInvalid, field, "the secret %q has no key %s", name, strings.Join(loginKeys, " or "))
		}
		login, found, err := registry.Login(values[loginKeys[at]], r.Reference)
		if err != nil {
			return nil, husk.Errorf(husk.CodeInvalid, field, "the key %s of the secret %q has no logins: %s", loginKeys[at], name, err)
		}
		if found {
			return &store.RegistryAuth{Username: login.Username, Password: login.Password}, nil
		}
	}
	return nil, nil //nolint:nilnil // anonymous
}

// ListImages lists or watches images.
func (a api) ListImages(ctx context.Context, r openapi.ListImagesRequestObject) (openapi.ListImagesResponseObject, error) {
	tenant := a.tenant(ctx)
	if openapi.Value(r.Params.Watch) {
		return watching[husk.Image]{ctx, a.watches.images, watch.Watch[husk.Image]{Match: func(i husk.Image) bool {
			return r.Params.Reference == nil || i.Reference == *r.Params.Reference
		}}}, nil
	}
	images, next, err := tenant.Images(ctx, request.Page(r.Params.Limit, r.Params.Cursor), r.Params.Reference)
	if err != nil {
		return nil, err
	}
	items, cursor, err := request.Listed[openapi.Image](images, next)
	return openapi.ListImages200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetImage returns one image.
func (a api) GetImage(ctx context.Context, r openapi.GetImageRequestObject) (openapi.GetImageResponseObject, error) {
	image, err := a.tenant(ctx).Image(ctx, r.ImageID)
	if err != nil {
		return nil, err
	}
	etag := request.ETag(image) // as in a list
	image.Shown = &image.Config
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.GetImage200JSONResponse{Body: body, Headers: openapi.GetImage200ResponseHeaders{ETag: etag}}, err
}

// DeleteImage requests that an image is removed.
func (a api) DeleteImage(ctx context.Context, r openapi.DeleteImageRequestObject) (openapi.DeleteImageResponseObject, error) {
	image, err := a.tenant(ctx).DeleteImage(ctx, r.ImageID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.DeleteImage202JSONResponse{Body: body, Headers: openapi.DeleteImage202ResponseHeaders{ETag: request.ETag(image)}}, err
}
