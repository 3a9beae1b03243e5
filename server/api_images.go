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
	return openapi.Recast[openapi.ImportImage201JSONResponse](image)
}

// ListImages lists.
func (a api) ListImages(ctx context.Context, r openapi.ListImagesRequestObject) (openapi.ListImagesResponseObject, error) {
	images, next, err := a.store.Images(ctx, requestOf(ctx).caller.TenantID, pageOf(r.Params.Limit, r.Params.Cursor), r.Params.Reference)
	if err != nil {
		return nil, err
	}
	items, cursor, err := listed[openapi.Image](images, next)
	return openapi.ListImages200JSONResponse{Items: items, NextCursor: cursor}, err
}

// GetImage returns one image.
func (a api) GetImage(ctx context.Context, r openapi.GetImageRequestObject) (openapi.GetImageResponseObject, error) {
	image, err := a.store.Image(ctx, requestOf(ctx).caller.TenantID, r.ImageID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.GetImage200JSONResponse](image)
}

// DeleteImage asks for an image to be removed.
func (a api) DeleteImage(ctx context.Context, r openapi.DeleteImageRequestObject) (openapi.DeleteImageResponseObject, error) {
	image, err := a.store.DeleteImage(ctx, requestOf(ctx).caller.TenantID, r.ImageID)
	if err != nil {
		return nil, err
	}
	return openapi.Recast[openapi.DeleteImage202JSONResponse](image)
}
