// Package agentclient is the generated client of the operations that only agents call. Its types are those of package openapi.
package agentclient

import "husk/openapi"

// The parameter types of the operations. Add the types of a new operation here.
type (
	RegisterNodeJSONRequestBody     = openapi.RegisterNodeJSONRequestBody
	RenewCertificateJSONRequestBody = openapi.RenewCertificateJSONRequestBody
	HeartbeatJSONRequestBody        = openapi.HeartbeatJSONRequestBody
	ReportStatusJSONRequestBody     = openapi.ReportStatusJSONRequestBody
	ReportSamplesJSONRequestBody    = openapi.ReportSamplesJSONRequestBody
	GetDesiredStateParams           = openapi.GetDesiredStateParams
)
