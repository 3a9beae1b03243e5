// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

// The contract has an example for every JSON body, in requests and in responses. Every example
// matches its schema.
func TestEveryBodyHasAValidExample(t *testing.T) {
	t.Parallel()
	for _, op := range operations(spec(t)) {
		if op.RequestBody != nil {
			for name, media := range op.RequestBody.Value.Content {
				checkExamples(t, op.OperationID+" takes "+name, media, true, openapi3.VisitAsRequest())
			}
		}
		for status, response := range op.Responses.Map() {
			for name, media := range response.Value.Content {
				checkExamples(t, fmt.Sprint(op.OperationID, " answers ", status, " ", name), media, strings.HasSuffix(name, "json"), openapi3.VisitAsResponse())
			}
		}
	}
}

func checkExamples(t *testing.T, where string, media *openapi3.MediaType, needed bool, as openapi3.SchemaValidationOption) {
	t.Helper()
	examples := []any{media.Example, media.Schema.Value.Example}
	for _, e := range media.Examples {
		examples = append(examples, e.Value.Value)
	}
	found := false
	for _, example := range examples {
		if example == nil {
			continue
		}
		found = true
		if err := media.Schema.Value.VisitJSON(example, as, openapi3.EnableFormatValidation(), openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(isID))); err != nil {
			t.Errorf("%s: the example does not match the schema: %v", where, err)
		}
	}
	if needed && !found {
		t.Errorf("%s without an example", where)
	}
}

func isID(id string) error {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return errors.New("this is not a UUID")
	}
	return nil
}

// The examples of one operation are consistent: the response shows the object with the ID in the
// path.
func TestExamplesOfPathParametersNameTheirObjects(t *testing.T) {
	t.Parallel()
	s := spec(t)
	for path, item := range s.Paths.Map() {
		for _, p := range item.Parameters {
			if p.Value.In == "path" && p.Value.Example == nil {
				t.Errorf("%s: the parameter %s has no example", path, p.Value.Name)
			}
		}
		get := item.GetOperation(http.MethodGet)
		if get == nil || len(item.Parameters) != 1 || !strings.HasSuffix(path, "}") {
			continue
		}
		shown, ok := get.Responses.Status(http.StatusOK).Value.Content.Get("application/json").Schema.Value.Example.(map[string]any)
		if !ok || shown["id"] != item.Parameters[0].Value.Example {
			t.Errorf("GET %s of %v shows an object with the id %v", path, item.Parameters[0].Value.Example, shown["id"])
		}
	}
}
