package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"

	"husk"
	"husk/store"
)

// maxBody is the largest request body that is read, in bytes. A pod of 16 containers with files stays far below.
const maxBody = 4 << 20

// request is what is known of the request under way.
type request struct {
	id        string
	operation string
	caller    husk.Caller
	// certificate is the serial of the one that an agent has shown.
	certificate string
	body        []byte
	basicUser   string
	basicPass   string
	hasBasic    bool
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// idempotency identifies the request under way for the store.
func (r *request) idempotency(key *string) store.Idempotency {
	k := ""
	if key != nil {
		k = *key
	}
	return store.NewIdempotency(k, r.operation, r.body)
}

// contract holds every request to openapi.yaml: the route exists, the token is good, the caller's kind may do this, and parameters
// and body are what the contract says, in this order, so that nobody unknown learns anything from validation.
func (s *Server) contract(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		route, params, err := s.router.FindRoute(r)
		if err != nil {
			s.writeProblem(w, r, routeProblem(err))
			return
		}
		req.operation = operationName(route.Operation.OperationID)
		if err := s.admit(r, req); err != nil {
			s.writeProblem(w, r, err)
			return
		}
		if req.body, err = readBody(w, r); err != nil {
			s.writeProblem(w, r, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(req.body))
		if err := validate(r, route, params); err != nil {
			s.writeProblem(w, r, badRequest(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(req.body))
		next.ServeHTTP(w, r)
	})
}

// readBody reads a body up to its limit, and JSON as a whole: decoders stop after the first value and would pass what is behind it.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		drain(w, r)
		return nil, husk.Errorf(husk.CodeTooLarge, "", "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "", "the body could not be read to its end")
	}
	if len(body) > 0 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && !json.Valid(body) {
		return nil, husk.Errorf(husk.CodeInvalid, "", "the body is not one JSON value")
	}
	return body, nil
}

// drain reads the rest of a body that is too large. Most clients read no answer before they have sent everything, so that one who
// is cut off learns of a broken connection and not of the limit. What is still too large or too slow then is cut off.
func drain(w http.ResponseWriter, r *http.Request) {
	const most, patience = 32 << 20, 10 * time.Second
	c := http.NewResponseController(w)
	if c.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, r.Body, most); errors.Is(err, io.EOF) {
		_ = c.SetReadDeadline(time.Time{}) //nolint:errcheck // it could be set a moment ago
	}
}

// admit verifies the token, or the certificate of an agent, and looks the caller up in the access table.
func (s *Server) admit(r *http.Request, req *request) error {
	req.basicUser, req.basicPass, req.hasBasic = r.BasicAuth()
	rule := s.access[req.operation]
	if rule.public() {
		return nil
	}
	if rule.allows(husk.CallerAgent) {
		return s.admitAgent(r, req)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return husk.Errorf(husk.CodeUnauthenticated, "", "a bearer token is needed; get one from /oauth2/token")
	}
	var err error
	if req.caller, err = s.tokens.verify(r.Context(), token); err != nil {
		return err
	}
	if !rule.allows(req.caller.Kind) {
		return husk.Errorf(husk.CodeForbidden, "", "a token of kind %s may not do this", req.caller.Kind)
	}
	return nil
}

func validate(r *http.Request, route *routers.Route, params map[string]string) error {
	return openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc, // admit has done it
			SkipSettingDefaults: true,                                  // the body that is hashed for idempotency stays the body that was sent
			// kin-openapi leaves this format to us; what it let pass would fail in decoding, where the field is not known.
			SchemaValidationOptions: []openapi3.SchemaValidationOption{openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(checkID))},
		},
	})
}

func checkID(id string) error {
	if _, err := uuid.Parse(id); err != nil || len(id) != 36 {
		return errors.New("this is not a UUID")
	}
	return nil
}

func routeProblem(err error) error {
	if errors.Is(err, routers.ErrMethodNotAllowed) {
		return husk.Errorf(husk.CodeMethodNotAllowed, "", "this path does not have this method")
	}
	return errNoRoute
}

// badRequest turns what validation or decoding found into an error with the offending field.
func badRequest(err error) error {
	if e, ok := errors.AsType[*husk.Error](err); ok {
		return e
	}
	field := ""
	if e, ok := errors.AsType[*openapi3filter.RequestError](err); ok && e.Parameter != nil {
		field = e.Parameter.Name
		if e.Parameter.In == "path" {
			// An id that is not even an id names nothing that exists.
			return husk.NotFound(kindOf(e.Parameter.Name))
		}
	}
	schema, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		if e, ok := errors.AsType[*openapi3filter.ParseError](err); ok {
			return husk.Errorf(husk.CodeInvalid, field, "the request could not be read: %s", e.Error())
		}
		if e, ok := errors.AsType[*openapi3filter.RequestError](err); ok {
			return husk.Errorf(husk.CodeInvalid, field, "%s", strings.TrimSpace(e.Reason+" "+errorText(e.Err)))
		}
		return husk.Errorf(husk.CodeInvalid, field, "the request could not be read: %s", err)
	}
	if path := fieldPath(schema.JSONPointer()); path != "" {
		field = path
	}
	if name, unknown := unknownProperty(schema); unknown {
		if field != "" {
			name = field + "." + name
		}
		return husk.Errorf(husk.CodeUnknownField, name, "there is no such field")
	}
	return husk.Errorf(husk.CodeInvalid, field, "%s", schema.Reason)
}

// kindOf names what a path parameter is the id of, in the words that the store uses.
func kindOf(parameter string) string {
	if parameter == "keyId" {
		return "API key"
	}
	return strings.TrimSuffix(parameter, "Id")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// unknownProperty recognises the error that kin-openapi gives for additionalProperties: false.
func unknownProperty(e *openapi3.SchemaError) (string, bool) {
	name, ok := strings.CutPrefix(e.Reason, `property "`)
	name, ok2 := strings.CutSuffix(name, `" is unsupported`)
	return name, ok && ok2
}

// fieldPath writes a JSON pointer the way people do: spec.containers[0].name.
func fieldPath(pointer []string) string {
	var b strings.Builder
	for _, p := range pointer {
		if p != "" && strings.Trim(p, "0123456789") == "" {
			b.WriteString("[" + p + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return b.String()
}
