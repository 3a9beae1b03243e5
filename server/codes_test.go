package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"husk"
	"husk/openapi"
)

// listed tells whether the contract says that whatever this request is for may answer with this problem code. Every problem that any test
// of the server meets is held to it.
func (c contractual) listed(r *http.Request, code string) error {
	allowed := textsOf(c.s.spec.Extensions["x-common-problem-codes"])
	operation := "a path that is not there"
	if route, _, err := c.s.router.FindRoute(r); err != nil {
		allowed = append(allowed, string(husk.CodeNotFound))
	} else {
		operation = route.Operation.OperationID
		allowed = append(allowed, textsOf(route.Operation.Extensions["x-problem-codes"])...)
	}
	if slices.Contains(allowed, code) {
		return nil
	}
	return fmt.Errorf("%s answers with the code %s; the contract lists only %s", operation, code, strings.Join(allowed, ", "))
}

func textsOf(list any) []string {
	items, ok := list.([]any)
	if !ok {
		return nil
	}
	var texts []string
	for _, item := range items {
		texts = append(texts, fmt.Sprint(item))
	}
	return texts
}

func TestACodeThatTheContractDoesNotListIsNoticed(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := contractual{t, s.Server, nil}
	for path, want := range map[string]map[husk.Code]bool{
		"/v1/pods":  {husk.CodeNameTaken: true, husk.CodeUnavailable: true, husk.CodeIssuerUnreachable: false},
		"/v1/volts": {husk.CodeNotFound: true, husk.CodeNameTaken: false},
	} {
		for code, listed := range want {
			if err := c.listed(s.request(http.MethodPost, path, "", nil), string(code)); (err == nil) != listed {
				t.Errorf("%s with %s: %v", path, code, err)
			}
		}
	}
}

// The description of every operation says who may call it, in the words that go with its rule.
func TestTheContractSaysWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range spec.Paths.Map() {
		for _, op := range item.Operations() {
			if want := sayWho(access[operationName(op.OperationID)]); !strings.HasSuffix(strings.TrimSpace(op.Description), want) {
				t.Errorf("the description of %s does not end with %q: %s", op.OperationID, want, op.Description)
			}
		}
	}
}

func sayWho(rule accessRule) string {
	switch {
	case rule.public:
		return "For everyone; no token is needed."
	case len(rule.kinds) > 1:
		return "For everyone with a token."
	case slices.Contains(rule.kinds, husk.CallerOperator):
		return "For operators of the platform."
	case slices.Contains(rule.kinds, husk.CallerAgent):
		return "For the node's agent."
	case rule.role == husk.RoleOwner:
		return "For owners of the tenant."
	case rule.role == husk.RoleDeveloper:
		return "For developers and owners of the tenant."
	default:
		return "For viewers, developers and owners of the tenant."
	}
}
