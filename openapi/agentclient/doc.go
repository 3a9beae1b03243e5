// Package agentclient is the generated client of the operations that only agents call. Its types are those of package openapi.
package agentclient

import "husk/openapi"

// What the operations take. A new operation needs its types here.
type (
	RegisterNodeJSONRequestBody     = openapi.RegisterNodeJSONRequestBody
	RenewCertificateJSONRequestBody = openapi.RenewCertificateJSONRequestBody
	HeartbeatJSONRequestBody        = openapi.HeartbeatJSONRequestBody
	ReportStatusJSONRequestBody     = openapi.ReportStatusJSONRequestBody
	ReportSamplesJSONRequestBody    = openapi.ReportSamplesJSONRequestBody
	GetDesiredStateParams           = openapi.GetDesiredStateParams
)
