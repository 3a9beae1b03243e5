// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"husk"
)

// accessRule says which callers are authorized for an operation.
type accessRule struct {
	public bool
	kinds  []husk.CallerKind
	role   husk.Role     // the lowest role that a caller of a tenant needs
	limit  husk.KeyLimit // API keys with this limit are authorized too
}

var (
	public     = accessRule{public: true}
	scrapers   = accessRule{kinds: []husk.CallerKind{husk.CallerTenant}, role: husk.RoleViewer, limit: husk.LimitedToMetrics}
	viewers    = accessRule{kinds: []husk.CallerKind{husk.CallerTenant}, role: husk.RoleViewer}
	developers = accessRule{kinds: []husk.CallerKind{husk.CallerTenant}, role: husk.RoleDeveloper}
	owners     = accessRule{kinds: []husk.CallerKind{husk.CallerTenant}, role: husk.RoleOwner}
	operators  = accessRule{kinds: []husk.CallerKind{husk.CallerOperator}}
	nodeAgents = accessRule{kinds: []husk.CallerKind{husk.CallerAgent}}
	people     = accessRule{kinds: []husk.CallerKind{husk.CallerTenant, husk.CallerOperator}, role: husk.RoleViewer, limit: husk.LimitedToMetrics}
)

// refuse returns an error if the caller is not authorized, and nil if it is.
func (r accessRule) refuse(c husk.Caller) error {
	switch {
	case !slices.Contains(r.kinds, c.Kind):
		return husk.Errorf(husk.CodeForbidden, "", "callers of kind %s are not authorized for this operation", c.Kind)
	case c.Limit != "" && c.Limit != r.limit:
		return husk.Errorf(husk.CodeForbidden, "", "the API key of this token is limited to %s; this operation needs a key without that limit", c.Limit)
	case c.Kind == husk.CallerTenant && !c.Role.Includes(r.role):
		return husk.Errorf(husk.CodeForbidden, "", "this operation needs the role %s; the token has the role %s", r.role, c.Role)
	default:
		return nil
	}
}

// access is the table of all access rules, by operationId. A server does not start if the table lacks an operation of the contract.
var access = map[string]accessRule{
	"IssueToken":             public, // the credentials are in the body
	"Authorize":              public, // the issuer authenticates the user
	"GetKeySet":              public,
	"GetLoginOptions":        public,
	"GetAuthorizationServer": public,
	"GetOpenIDConfiguration": public,
	"GetContract":            public,
	"GetContractAsYAML":      public,
	"Healthz":                public,
	"Readyz":                 public,
	"Metrics":                operators,
	"WhoAmI":                 people,
	"GetPlatform":            people,

	"ListPods":           viewers,
	"CreatePod":          developers,
	"GetPod":             viewers,
	"DeletePod":          developers,
	"UpdatePod":          developers,
	"ResizePod":          developers,
	"StopPod":            developers,
	"StartPod":           developers,
	"RestartPod":         developers,
	"KillPod":            developers,
	"GetPodLogs":         viewers,
	"GetPodPlacement":    viewers,
	"GetPodStats":        viewers,
	"ListVolumes":        viewers,
	"CreateVolume":       developers,
	"ListSnapshots":      viewers,
	"GetSnapshot":        viewers,
	"GetVolume":          viewers,
	"UpdateVolume":       developers,
	"RestoreVolume":      developers,
	"CreateSnapshot":     developers,
	"ExportSnapshot":     developers,
	"ImportVolume":       developers,
	"DeleteSnapshot":     developers,
	"DeleteVolume":       developers,
	"ListVolumeClasses":  viewers,
	"ListConfigs":        viewers,
	"CreateConfig":       developers,
	"GetConfig":          viewers,
	"UpdateConfig":       developers,
	"DeleteConfig":       developers,
	"ListNetworks":       viewers,
	"CreateNetwork":      developers,
	"GetNetwork":         viewers,
	"UpdateNetwork":      developers,
	"DeleteNetwork":      developers,
	"ListServices":       viewers,
	"CreateService":      developers,
	"GetService":         viewers,
	"UpdateService":      developers,
	"DeleteService":      developers,
	"ListAddresses":      viewers,
	"CreateAddress":      developers,
	"GetAddress":         viewers,
	"UpdateAddress":      developers,
	"DeleteAddress":      developers,
	"GetPodStatsHistory": viewers,

	"ListIngresses": viewers, "GetIngress": viewers, "ListIngressRequests": viewers,
	"CreateIngress": developers, "UpdateIngress": developers, "DeleteIngress": developers,

	"ListImages":              viewers,
	"ImportImage":             developers,
	"GetImage":                viewers,
	"DeleteImage":             developers,
	"GetUsage":                viewers,
	"GetQuota":                viewers,
	"ListEvents":              viewers,
	"ListSecurityGroups":      viewers,
	"CreateSecurityGroup":     developers,
	"GetSecurityGroup":        viewers,
	"UpdateSecurityGroup":     developers,
	"DeleteSecurityGroup":     developers,
	"GetSecurityGroupTraffic": viewers,

	"GetTenantMetrics":   scrapers,
	"ListMetricsTargets": scrapers,

	"ExecInPod":      developers,
	"AttachToPod":    developers,
	"OpenPodConsole": viewers, // the console is a log
	"ForwardPodPort": developers,
	"CopyFromPod":    developers, // files may contain secrets
	"CopyToPod":      developers,

	"ListServiceAccounts":     owners,
	"CreateServiceAccount":    owners,
	"GetServiceAccount":       owners,
	"UpdateServiceAccount":    owners,
	"DeleteServiceAccount":    owners,
	"ListServiceAccountKeys":  owners,
	"CreateServiceAccountKey": owners,
	"DeleteServiceAccountKey": owners,
	"ListUsers":               owners,
	"CreateUser":              owners,
	"GetUser":                 owners,
	"UpdateUser":              owners,
	"DeleteUser":              owners,
	"ListOIDCIssuers":         owners,
	"CreateOIDCIssuer":        owners,
	"GetOIDCIssuer":           owners,
	"UpdateOIDCIssuer":        owners,
	"DeleteOIDCIssuer":        owners,
	"ListAudit":               owners,

	"ListTenants":            operators,
	"CreateTenant":           operators,
	"GetTenant":              operators,
	"UpdateTenant":           operators,
	"DeleteTenant":           operators,
	"ListAPIKeys":            operators,
	"CreateAPIKey":           operators,
	"DeleteAPIKey":           operators,
	"AdminListOIDCIssuers":   operators,
	"AdminCreateOIDCIssuer":  operators,
	"AdminGetOIDCIssuer":     operators,
	"AdminUpdateOIDCIssuer":  operators,
	"AdminDeleteOIDCIssuer":  operators,
	"AdminListAudit":         operators,
	"ListUnknownObjects":     operators,
	"DeleteUnknownObject":    operators,
	"ListSigningKeys":        operators,
	"RotateSigningKey":       operators,
	"DeleteSigningKey":       operators,
	"ListNodes":              operators,
	"GetNode":                operators,
	"DeleteNode":             operators,
	"CreateJoinToken":        operators,
	"UpdateNode":             operators,
	"ListPools":              operators,
	"PutPool":                operators,
	"DeletePool":             operators,
	"AdminListVolumeClasses": operators,
	"PutVolumeClass":         operators,
	"DeleteVolumeClass":      operators,
	"Defragment":             operators,
	"GetFence":               operators,
	"FenceNode":              operators,
	"GetDrain":               operators,
	"DrainNode":              operators,
	"CancelDrain":            operators,
	"MovePod":                operators,
	"AdminGetUsage":          operators,
	"AdminListPods":          operators,
	"AdminGetPodPlacement":   operators,

	"GetNodeMetrics":         operators,
	"ListNodeMetricsTargets": operators,
	"ListNodeCertificates":   operators,
	"RevokeNodeCertificates": operators,

	"RegisterNode":    public, // the join token is the credential
	"Heartbeat":       nodeAgents,
	"GetDesiredState": nodeAgents,
	"GetNames":        nodeAgents,
	"ReportStatus":    nodeAgents,
	"ReportSamples":   nodeAgents,
	"DecideMove":      nodeAgents,

	"RenewCertificate": nodeAgents,
}

// checkAccessTable checks that table and contract have the same operations, and agree about which are public.
func checkAccessTable(spec *openapi3.T, table map[string]accessRule) error {
	missing := []string{}
	seen := map[string]bool{}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			id := operationName(op.OperationID)
			seen[id] = true
			rule, ok := table[id]
			if !ok {
				missing = append(missing, fmt.Sprintf("%s %s (%s) has no access rule", method, path, id))
				continue
			}
			if byCertificate(op) != slices.Contains(rule.kinds, husk.CallerAgent) {
				missing = append(missing, fmt.Sprintf("%s %s (%s): contract and access table disagree on whether it is for agents", method, path, id))
			}
			if declaredPublic := op.Security != nil && len(*op.Security) == 0; declaredPublic != rule.public {
				missing = append(missing, fmt.Sprintf("%s %s (%s): contract and access table disagree on whether it is public", method, path, id))
			}
			if slices.Contains(rule.kinds, husk.CallerTenant) && !slices.Contains(husk.Roles, rule.role) {
				missing = append(missing, fmt.Sprintf("%s %s (%s) names no role for tenants", method, path, id))
			}
		}
	}
	for id := range table {
		if !seen[id] {
			missing = append(missing, id+" has an access rule but is not in the contract")
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("access table: %s", strings.Join(missing, "; "))
	}
	return nil
}

// byCertificate reports whether an operation is authenticated by a node's certificate instead of a token.
func byCertificate(op *openapi3.Operation) bool {
	if op.Security == nil {
		return false
	}
	return slices.ContainsFunc(*op.Security, func(r openapi3.SecurityRequirement) bool { _, ok := r["nodeCertificate"]; return ok })
}

// operationName returns the operationId in the spelling of the generated Go code.
func operationName(id string) string { return strings.ToUpper(id[:1]) + id[1:] }
