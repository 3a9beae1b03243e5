package server

import (
	"context"
	"errors"
	"time"

	"husk"
	"husk/openapi"
	"husk/registry"
	"husk/store"
)

// resolveTimeout bounds how long a registry may take to say what a reference is.
const resolveTimeout = 15 * time.Second

// ImportImage resolves the reference at once and accepts the import.
func (a api) ImportImage(ctx context.Context, r openapi.ImportImageRequestObject) (openapi.ImportImageResponseObject, error) {
	req := requestOf(ctx)
	var auth *store.RegistryAuth
	if r.Body.RegistryAuth != nil {
		auth = &store.RegistryAuth{Username: r.Body.RegistryAuth.Username, Password: r.Body.RegistryAuth.Password}
	}
	if err := a.limit(ctx, a.outbound, req.caller.TenantID.String()); err != nil {
		return nil, err
	}
	resolveCtx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	resolved, err := registry.Resolve(resolveCtx, a.cfg.Egress, r.Body.Reference, registryAuth(auth))
	if errors.Is(err, registry.ErrForbidden) { // the caller's mistake or their attempt, and the operator decides which
		a.log.Warn("registry at a forbidden address", "request_id", req.id, "tenant", req.caller.TenantID, "error", err)
	}
	if err != nil {
		return nil, registryProblem(err)
	}
	config := husk.ImageConfig{
		Entrypoint: resolved.Config.Entrypoint, Cmd: resolved.Config.Cmd, Env: resolved.Config.Env, WorkingDir: resolved.Config.WorkingDir,
		User: resolved.Config.User, StopSignal: resolved.Config.StopSignal,
	}
	image, err := a.store.CreateImage(ctx, req.caller.TenantID, req.idempotency(r.Params.IdempotencyKey), r.Body.Reference, resolved.Digest, config, auth)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.ImportImage201JSONResponse{Body: body, Headers: openapi.ImportImage201ResponseHeaders{ETag: tag(image)}}, err
}

// ListImages lists or watches.
func (a api) ListImages(ctx context.Context, r openapi.ListImagesRequestObject) (openapi.ListImagesResponseObject, error) {
	tenant := tenantOf(ctx)
	read := func(p store.Page) ([]husk.Image, string, error) {
		return a.store.Images(ctx, tenant, p, r.Params.Reference)
	}
	if valueOf(r.Params.Watch) {
		return watch[husk.Image, openapi.Image]{server: a.Server, ctx: ctx, tenant: tenant, hints: a.store.WatchImages, read: read, id: func(i husk.Image) store.ID { return i.ID }}, nil
	}
	images, next, err := read(pageOf(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Image](images, next)
	return openapi.ListImages200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetImage returns one image.
func (a api) GetImage(ctx context.Context, r openapi.GetImageRequestObject) (openapi.GetImageResponseObject, error) {
	image, err := a.store.Image(ctx, tenantOf(ctx), r.ImageID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.GetImage200JSONResponse{Body: body, Headers: openapi.GetImage200ResponseHeaders{ETag: tag(image)}}, err
}

// DeleteImage asks for an image to be removed.
func (a api) DeleteImage(ctx context.Context, r openapi.DeleteImageRequestObject) (openapi.DeleteImageResponseObject, error) {
	image, err := a.store.DeleteImage(ctx, tenantOf(ctx), r.ImageID)
	if err != nil {
		return nil, err
	}
	body, err := openapi.Recast[openapi.Image](image)
	return openapi.DeleteImage202JSONResponse{Body: body, Headers: openapi.DeleteImage202ResponseHeaders{ETag: tag(image)}}, err
}
