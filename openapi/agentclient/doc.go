// SPDX-License-Identifier: Apache-2.0

// Package agentclient is the generated client of the operations that only agents call. Its types are those of package openapi.
package agentclient

import "husk/openapi"

//nolint:revive // The parameters of the operations have their comments in package openapi. Add those of a new operation here.
type (
	RegisterNodeJSONRequestBody     = openapi.RegisterNodeJSONRequestBody
	RenewCertificateJSONRequestBody = openapi.RenewCertificateJSONRequestBody
	HeartbeatJSONRequestBody        = openapi.HeartbeatJSONRequestBody
	GetNamesJSONRequestBody         = openapi.GetNamesJSONRequestBody
	ReportStatusJSONRequestBody     = openapi.ReportStatusJSONRequestBody
	ReportSamplesJSONRequestBody    = openapi.ReportSamplesJSONRequestBody
	DecideMoveJSONRequestBody       = openapi.DecideMoveJSONRequestBody
	PodID                           = openapi.PodID
	GetDesiredStateParams           = openapi.GetDesiredStateParams
	ReportStatusParams              = openapi.ReportStatusParams
)
