package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"husk"
)

// accessRule says which kinds of callers may do an operation. An empty rule is public.
type accessRule []husk.CallerKind

func (r accessRule) public() bool                     { return len(r) == 0 }
func (r accessRule) allows(kind husk.CallerKind) bool { return slices.Contains(r, kind) }

var (
	public    = accessRule{}
	tenants   = accessRule{husk.CallerTenant}
	operators = accessRule{husk.CallerOperator}
	agents    = accessRule{husk.CallerAgent}
)

// access is the one table that says who may do what, by operationId. A server does not start when the contract has an operation
// that is missing here.
var access = map[string]accessRule{
	"IssueToken": public,
	"GetKeySet":  public,
	"Healthz":    public,
	"Readyz":     public,
	"Metrics":    operators,

	"ListPods":     tenants,
	"CreatePod":    tenants,
	"GetPod":       tenants,
	"DeletePod":    tenants,
	"GetPodLogs":   tenants,
	"ListVolumes":  tenants,
	"CreateVolume": tenants,
	"GetVolume":    tenants,
	"DeleteVolume": tenants,
	"ListImages":   tenants,
	"ImportImage":  tenants,
	"GetImage":     tenants,
	"DeleteImage":  tenants,

	"ListTenants":     operators,
	"CreateTenant":    operators,
	"GetTenant":       operators,
	"UpdateTenant":    operators,
	"DeleteTenant":    operators,
	"ListAPIKeys":     operators,
	"CreateAPIKey":    operators,
	"DeleteAPIKey":    operators,
	"ListNodes":       operators,
	"GetNode":         operators,
	"DeleteNode":      operators,
	"CreateJoinToken": operators,

	"ListNodeCertificates":   operators,
	"RevokeNodeCertificates": operators,

	"RegisterNode":    public, // the join token is the credential
	"Heartbeat":       agents,
	"GetDesiredState": agents,
	"ReportStatus":    agents,

	"RenewCertificate": agents,
}

// checkAccessTable compares the table with the contract, both ways, and with what the contract calls public.
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
			if byCertificate(op) != rule.allows(husk.CallerAgent) {
				missing = append(missing, fmt.Sprintf("%s %s (%s) is for agents in one of contract and access table only", method, path, id))
			}
			if declaredPublic := op.Security != nil && len(*op.Security) == 0; declaredPublic != rule.public() {
				missing = append(missing, fmt.Sprintf("%s %s (%s) is public in one of contract and access table only", method, path, id))
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

// byCertificate tells whether the contract asks for a node's certificate, and not for a token.
func byCertificate(op *openapi3.Operation) bool {
	if op.Security == nil {
		return false
	}
	return slices.ContainsFunc(*op.Security, func(r openapi3.SecurityRequirement) bool { _, ok := r["nodeCertificate"]; return ok })
}

// operationName is the operationId as Go code spells it.
func operationName(id string) string { return strings.ToUpper(id[:1]) + id[1:] }
