// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
	"husk/server/auth"
	"husk/server/exec"
	"husk/server/held"
	"husk/server/metrics"
	"husk/server/represent"
	"husk/server/request"
	"husk/server/transfer"
	"husk/store"
	"husk/strictjson"
)

// maxBody is the largest request body, in bytes. A pod of 16 containers with files is far smaller.
const maxBody = 4 << 20

// maxDepth is how deep objects and arrays can be nested in a body. A pod needs eight levels.
const maxDepth = 32

// contract checks requests against openapi.yaml.
type contract struct {
	auth     *auth.Auth
	metrics  *metrics.Metrics
	held     *held.Held
	log      *slog.Logger
	problems problems
	access   map[string]accessRule
	spec     *openapi3.T
	router   routers.Router
	proxies  []netip.Prefix // proxies whose X-Forwarded-For the server trusts

	readOnly     map[string]bool // names of properties that occur in responses only
	deprecations map[string]deprecation
}

// newContract reads the contract and compares it with the access table.
func newContract(a *auth.Auth, m *metrics.Metrics, h *held.Held, cfg Config) (*contract, error) {
	spec, err := openapi.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		return nil, fmt.Errorf("route the contract: %w", err)
	}
	if err := checkAccessTable(spec, access); err != nil {
		return nil, err
	}
	deprecations, err := deprecationsOf(spec)
	if err != nil {
		return nil, err
	}
	return &contract{
		auth: a, metrics: m, held: h, log: cfg.Log, problems: problems{cfg.Log}, access: access, spec: spec, router: router, proxies: cfg.TrustedProxies,
		readOnly: readOnlyProperties(spec), deprecations: deprecations,
	}, nil
}

// hold checks every request in this order: the route exists, the caller is authenticated, within its rate limit and authorized, and parameters and
// body are valid. So an unknown caller learns nothing from validation.
func (c *contract) hold(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := request.Of(r.Context())
		head := r.Method == http.MethodHead
		w, r = represent.Conditional(w, r), represent.AsGet(r)
		route, params, err := c.router.FindRoute(r)
		if err != nil {
			c.problems.write(w, r, routeProblem(err))
			return
		}
		if head && streams(operationName(route.Operation.OperationID), r) {
			c.problems.write(w, r, husk.Errorf(husk.CodeMethodNotAllowed, "", "streams and sessions do not support HEAD"))
			return
		}
		req.Operation, req.Path, req.Address = operationName(route.Operation.OperationID), r.URL.Path, request.AddressOf(r, c.proxies)
		c.deprecations[req.Operation].tell(w.Header())
		if err := c.admit(r, req); err != nil {
			c.problems.write(w, r, err)
			return
		}
		release, err := c.take(r, req)
		if err != nil {
			c.problems.write(w, r, err)
			return
		}
		defer release()
		ctx := store.WithRequest(r.Context(), store.Request{
			ID: req.ID, Operation: req.Operation, Caller: req.Caller, Address: req.Address, IfMatch: r.Header.Get("If-Match"),
			Changes: r.Method != http.MethodGet && req.Caller.Kind != husk.CallerAgent, // an agent repeats what it reports
		})
		until := time.Time{} // the deadline of an earlier request on this connection must not end a stream
		if !streams(req.Operation, r) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			until = time.Now().Add(requestTimeout + request.WriteTimeout)
		}
		if err := http.NewResponseController(w).SetWriteDeadline(until); err != nil {
			c.log.Debug("could not set a deadline on the connection", "request_id", req.ID, "error", err)
		}
		r = r.WithContext(ctx)
		if err := c.knownParameters(r, req, route); err != nil {
			c.problems.write(w, r, err)
			return
		}
		long := req.Operation == importVolume
		if long {
			r.Body = transfer.Body(w, r.Body)
		} else if req.Body, err = readBody(w, r); err != nil {
			c.problems.write(w, r, err)
			return
		}
		if req.Caller.Kind == husk.CallerTenant && len(req.Body) >= held.LargeBody {
			done, err := c.held.Turn(ctx, req.Caller.TenantID)
			if err != nil {
				c.problems.write(w, r, err)
				return
			}
			defer done()
		}
		if !long {
			r.Body = io.NopCloser(bytes.NewReader(req.Body))
		}
		checked := r
		if long {
			checked = r.WithContext(ctx)
			checked.Body = http.NoBody // kin-openapi would read all of it
		}
		if err := validate(checked, route, params, !long); err != nil {
			if err = c.withoutInvalidItems(r, req, route, params, err); err != nil {
				c.problems.write(w, r, c.badRequest(err))
				return
			}
		}
		if !long {
			r.Body = io.NopCloser(bytes.NewReader(req.Body))
		}
		req.HTTP = r
		next.ServeHTTP(w, r)
	})
}

// knownParameters refuses a parameter of the query that the operation does not have, because a misspelled one would have no effect. Operations
// without a token ignore them, as RFC 6749 (3.1) requires, and so do those for agents, which may be newer. Codes: invalid.
func (c *contract) knownParameters(r *http.Request, req *request.Request, route *routers.Route) error {
	if rule := c.access[req.Operation]; rule.public || slices.Contains(rule.kinds, husk.CallerAgent) {
		return nil
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil && route.PathItem.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			return husk.Errorf(husk.CodeInvalid, name, "there is no such parameter")
		}
	}
	return nil
}

// take counts the request among those that its tenant has open, and the bytes of its body. Codes: concurrency_limit.
func (c *contract) take(r *http.Request, req *request.Request) (release func(), err error) {
	if req.Caller.Kind != husk.CallerTenant {
		return func() {}, nil
	}
	if streams(req.Operation, r) {
		c.auth.ChargeStream(req.Caller.TenantID)
	}
	if exec.IsSession(req.Operation) { // it is counted when it begins
		return func() {}, nil
	}
	kind := held.Requests
	switch {
	case req.Operation == importVolume || req.Operation == "ExportSnapshot":
		kind = held.Transfers
	case req.Operation == "GetPodLogs":
		kind = held.Logs
	case streams(req.Operation, r):
		kind = held.Watches
	}
	open, err := c.held.Take(req.Caller.TenantID, kind)
	if err != nil {
		return nil, err
	}
	size := int(r.ContentLength)
	if req.Operation == importVolume {
		size = 0 // one piece is in memory at a time
	} else if size < 0 || size > maxBody {
		size = maxBody
	}
	releases := []func(){open}
	release = func() {
		for _, f := range releases {
			f()
		}
	}
	req.Take = func(bytes int) error {
		f, err := c.held.TakeMany(req.Caller.TenantID, held.Bytes, bytes)
		if err == nil {
			releases = append(releases, f)
			c.auth.ChargeTenant(req.Caller.TenantID, bytes)
		}
		return err
	}
	if err := req.Take(size); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// requestTimeout is how long a request can take, unless it is a stream. It is longer than the longest wait inside a request, which is for a registry.
const requestTimeout = 30 * time.Second

// importVolume is the operation whose body is read as it arrives.
const importVolume = "ImportVolume"

// streams reports whether a request stays open on purpose.
func streams(operation string, r *http.Request) bool {
	return exec.IsSession(operation) || operation == "GetPodLogs" || operation == importVolume || operation == "ExportSnapshot" || operation == "GetDesiredState" || operation == "GetNames" || r.URL.Query().Get("watch") == "true"
}

// readBody reads a body up to the limit. JSON must be unambiguous: one value, and each name once.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		// A few compressed bytes can expand to gigabytes, and no valid body is large.
		return nil, husk.Errorf(husk.CodeUnsupportedEncoding, "Content-Encoding", "send the body without compression; %q is not supported", encoding)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		drain(w, r)
		return nil, husk.Errorf(husk.CodeTooLarge, "", "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "", "the body could not be read completely")
	}
	if len(body) > 0 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		if err := strictjson.Check(body, maxDepth); err != nil {
			return nil, husk.Errorf(husk.CodeInvalid, "", "the body: %s", err)
		}
	}
	return body, nil
}

// drain reads the rest of a body that is too large. Most clients read the response only after they have sent everything, so a client that is cut off would
// see a broken connection instead of the error. A body that is still too large or too slow is cut off.
func drain(w http.ResponseWriter, r *http.Request) {
	const most, patience = 32 << 20, 10 * time.Second
	c := http.NewResponseController(w)
	if c.SetReadDeadline(time.Now().Add(patience)) != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, r.Body, most); errors.Is(err, io.EOF) {
		_ = c.SetReadDeadline(time.Time{}) //nolint:errcheck // it succeeded a moment ago
	}
}

// admit finds out who the caller is, counts the request, and looks the caller up in the access table.
func (c *contract) admit(r *http.Request, req *request.Request) error {
	req.BasicUser, req.BasicPass, req.HasBasic = r.BasicAuth()
	rule := c.access[req.Operation]
	if rule.public {
		if req.Operation == "Healthz" || req.Operation == "Readyz" {
			return nil
		}
		return c.auth.LimitAddress(r.Context(), req.Address)
	}
	err := c.authenticate(r, req, rule)
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		// Guessing tokens is slowed down like logging in.
		if tooMany := c.auth.LimitAddress(r.Context(), req.Address); tooMany != nil {
			return tooMany
		}
	}
	if err != nil {
		return err
	}
	if req.Caller.Kind == husk.CallerTenant && (!metrics.IsScrape(req.Operation) || !c.metrics.Free(req.Caller.TenantID, time.Now())) {
		if err := c.auth.LimitTenant(r.Context(), req.Caller.TenantID); err != nil {
			return err
		}
	}
	return rule.refuse(req.Caller)
}

// authenticate finds out who the caller is: agents have certificates, everybody else has tokens.
func (c *contract) authenticate(r *http.Request, req *request.Request, rule accessRule) error {
	if slices.Contains(rule.kinds, husk.CallerAgent) {
		return c.auth.ByCertificate(r, req)
	}
	return c.auth.ByToken(r, req, exec.IsSession(req.Operation))
}

// withoutInvalidItems validates a batch again without the items that are invalid. It returns the first error if that is not enough.
func (c *contract) withoutInvalidItems(r *http.Request, req *request.Request, route *routers.Route, params map[string]string, first error) error {
	content := route.Operation.RequestBody
	if content == nil || content.Value.Content.Get("application/json") == nil {
		return first
	}
	body, items, err := request.WithoutInvalidItems(content.Value.Content.Get("application/json").Schema.Value, req.Body,
		func(s *openapi3.Schema, item any) error {
			if err := s.VisitJSON(item, append(formats(), openapi3.VisitAsRequest())...); err != nil {
				return c.badRequest(err)
			}
			return nil
		})
	if err != nil || len(items.Refused) == 0 {
		return errors.Join(err, first)
	}
	req.Body, req.Items = body, items
	r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil // the validator set GetBody
	c.log.Warn("refused items of an agent's report; the others are recorded",
		"request_id", req.ID, "operation", req.Operation, "node", req.Caller.NodeID, "items", len(items.Refused), "error", items.Refused[0].Err)
	return validate(r, route, params, true)
}

// formats checks UUIDs. kin-openapi does not check this format by default. An invalid UUID would then fail in decoding, where the field is
// not known.
func formats() []openapi3.SchemaValidationOption {
	return []openapi3.SchemaValidationOption{openapi3.WithStringFormatValidator("uuid", openapi3.NewCallbackValidator(checkID))}
}

func validate(r *http.Request, route *routers.Route, params map[string]string, body bool) error {
	return openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:      openapi3filter.NoopAuthenticationFunc, // admit has done it
			ExcludeRequestBody:      !body,
			SkipSettingDefaults:     true, // the idempotency hash is computed from the body as it was sent
			SchemaValidationOptions: formats(),
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
		return husk.Errorf(husk.CodeMethodNotAllowed, "", "the path does not support this method")
	}
	return errNoRoute
}

// badRequest converts an error of validation or decoding into a problem with the offending field.
func (c *contract) badRequest(err error) error {
	if e, ok := errors.AsType[*husk.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok { // the contract allows it, such as 1e2 for 100
		return husk.Errorf(husk.CodeInvalid, e.Field, "this %s cannot be read; write whole numbers as digits only", e.Value)
	}
	field := ""
	if e, ok := errors.AsType[*openapi3filter.RequestError](err); ok && e.Parameter != nil {
		field = e.Parameter.Name
		if e.Parameter.In == "path" {
			// An invalid id gets the same response as an id that does not exist.
			return husk.NotFound(kindOf(e.Parameter.Name))
		}
	}
	schema, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		if words := wanted(err); words != "" {
			return husk.Errorf(husk.CodeInvalid, field, "this value is not valid: write %s", words)
		}
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
		if c.readOnly[name] {
			return husk.Errorf(husk.CodeReadOnlyField, name, "this field is read-only; leave it out")
		}
		return husk.Errorf(husk.CodeUnknownField, name, "there is no such field")
	}
	if schema.SchemaField == "pattern" {
		if words, ok := request.PatternWords[schema.Schema.Pattern]; ok {
			return husk.Errorf(husk.CodeInvalid, field, "this value is not valid: %s", words)
		}
	}
	plain := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) } // not 4.194304e+06
	switch s := schema.Schema; {
	case schema.SchemaField == "minimum" && s.Min != nil:
		return husk.Errorf(husk.CodeInvalid, field, "number must be at least %s", plain(*s.Min))
	case schema.SchemaField == "maximum" && s.Max != nil:
		return husk.Errorf(husk.CodeInvalid, field, "number must be at most %s", plain(*s.Max))
	}
	return husk.Errorf(husk.CodeInvalid, field, "%s", schema.Reason)
}

// wanted says in words what a parameter whose text cannot be read has to be, or nothing if the error is another one.
func wanted(err error) string {
	e, ok := errors.AsType[*openapi3filter.RequestError](err)
	if _, unread := errors.AsType[*openapi3filter.ParseError](err); !ok || !unread || e.Parameter == nil || e.Parameter.Schema == nil {
		return ""
	}
	switch s := e.Parameter.Schema.Value; {
	case s.Type.Is("boolean"):
		return "true or false"
	case s.Type.Is("integer") && s.Min != nil && s.Max != nil:
		return fmt.Sprintf("a whole number from %.0f to %.0f", *s.Min, *s.Max)
	case s.Type.Is("integer"):
		return "a whole number"
	default:
		return ""
	}
}

// kindOf returns the kind of object that a path parameter identifies, in the words of the store.
func kindOf(parameter string) string {
	switch parameter {
	case "keyId":
		return "API key"
	case "serviceAccountId":
		return "service account"
	default:
		return strings.TrimSuffix(parameter, "Id")
	}
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

// readOnlyProperties returns the names of the properties that the contract marks as read-only.
func readOnlyProperties(spec *openapi3.T) map[string]bool {
	names := map[string]bool{}
	for _, schema := range spec.Components.Schemas {
		for name, property := range schema.Value.Properties {
			if property.Value.ReadOnly {
				names[name] = true
			}
		}
	}
	return names
}

// fieldPath converts a JSON pointer to the form spec.containers[0].name.
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
