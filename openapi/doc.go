// SPDX-License-Identifier: Apache-2.0

// Package openapi holds the API's contract, openapi.yaml, and the Go code
// generated from it: wire types, the chi strict server and the client. Edit the
// contract and run make generate. A test fails if the generated code is out of date.
package openapi

//go:generate go tool oapi-codegen -config cfg.types.yaml openapi.yaml
//go:generate go tool oapi-codegen -config cfg.server.yaml openapi.yaml
//go:generate go tool oapi-codegen -config cfg.client.yaml openapi.yaml
//go:generate go tool oapi-codegen -config cfg.agentclient.yaml openapi.yaml
