// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"context"
	"strings"

	"husk/openapi"
)

// GetAuthorizationServer returns where clients get tokens, and how (RFC 8414).
func (a *Auth) GetAuthorizationServer(context.Context, openapi.GetAuthorizationServerRequestObject) (openapi.GetAuthorizationServerResponseObject, error) {
	return openapi.GetAuthorizationServer200JSONResponse(a.metadata()), nil
}

// GetOpenIDConfiguration returns the same where clients of OpenID Connect look for it.
func (a *Auth) GetOpenIDConfiguration(context.Context, openapi.GetOpenIDConfigurationRequestObject) (openapi.GetOpenIDConfigurationResponseObject, error) {
	return openapi.GetOpenIDConfiguration200JSONResponse(a.metadata()), nil
}

func (a *Auth) metadata() openapi.AuthorizationServer {
	at := strings.TrimSuffix(a.cfg.Issuer, "/")
	return openapi.AuthorizationServer{
		Issuer:                            a.cfg.Issuer,
		AuthorizationEndpoint:             at + "/oauth2/authorize",
		TokenEndpoint:                     at + "/oauth2/token",
		JwksURI:                           at + "/.well-known/jwks.json",
		ResponseTypesSupported:            []string{"code"},
		GrantTypesSupported:               []string{grantClientCredentials, grantCode, grantTokenExchange},
		TokenEndpointAuthMethodsSupported: []string{"client_secret_basic", "client_secret_post", "none"},
		CodeChallengeMethodsSupported:     []string{"S256"},
		SubjectTypesSupported:             []string{"public"},
		IDTokenSigningAlgValuesSupported:  []string{"EdDSA"},
		ServiceDocumentation:              at + "/openapi.json",
	}
}
