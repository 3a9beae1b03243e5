// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"time"

	"husk"

	"husk/openapi"
)

// Healthz responds if the process is alive.
func (a api) Healthz(context.Context, openapi.HealthzRequestObject) (openapi.HealthzResponseObject, error) {
	return openapi.Healthz200JSONResponse{Status: openapi.Ok}, nil
}

// Readyz responds with ok if the server is ready, which means that Postgres responds.
func (a api) Readyz(ctx context.Context, _ openapi.ReadyzRequestObject) (openapi.ReadyzResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.store.Ping(ctx); err != nil {
		return nil, unavailable(err)
	}
	return openapi.Readyz200JSONResponse{Status: openapi.Ok}, nil
}

func unavailable(err error) error {
	return errors.Join(husk.Errorf(husk.CodeUnavailable, "", "the platform's database does not respond; retry"), err)
}
