// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"husk"
	"husk/openapi"
)

func TestACodeThatTheContractDoesNotListIsReported(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := contractual(t, nil)
	for path, want := range map[string]map[husk.Code]bool{
		"/v1/pods":  {husk.CodeNameTaken: true, husk.CodeUnavailable: true, husk.CodeIssuerUnreachable: false},
		"/v1/volts": {husk.CodeNotFound: true, husk.CodeNameTaken: false},
	} {
		for code, listed := range want {
			if err := c.Listed(s.request(http.MethodPost, path, "", nil), string(code)); (err == nil) != listed {
				t.Errorf("%s with %s: %v", path, code, err)
			}
		}
	}
}

// The description of every operation ends with the sentence about the callers that its access rule
// allows.
func TestTheContractStatesTheRoleOfEachOperation(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range spec.Paths.Map() {
		for _, op := range item.Operations() {
			if want := callersOf(access[operationName(op.OperationID)]); !strings.HasSuffix(strings.TrimSpace(op.Description), want) {
				t.Errorf("the description of %s does not end with %q: %s", op.OperationID, want, op.Description)
			}
		}
	}
}

func callersOf(rule accessRule) string {
	switch {
	case rule.public:
		return "For everyone; no token is required."
	case len(rule.kinds) > 1:
		return "For everyone with a token."
	case slices.Contains(rule.kinds, husk.CallerOperator):
		return "For operators of the platform."
	case slices.Contains(rule.kinds, husk.CallerAgent):
		return "For the node's agent."
	case rule.limit == husk.LimitedToMetrics:
		return "For viewers, developers and owners of the tenant, also with a key that is limited to metrics."
	case rule.role == husk.RoleOwner:
		return "For owners of the tenant."
	case rule.role == husk.RoleDeveloper:
		return "For developers and owners of the tenant."
	default:
		return "For viewers, developers and owners of the tenant."
	}
}
