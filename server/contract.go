package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/uuid"

	"husk"
	"husk/session/ws"
	"husk/store"
	"husk/strictjson"
)

// maxBody is the largest request body that is read, in bytes. A pod of 16 containers with files stays far below.
const maxBody = 4 << 20

// maxDepth is how deep objects and arrays may nest in a body. A pod needs eight.
const maxDepth = 32

// request is what is known of the request under way.
type request struct {
	id        string
	operation string
	path      string
	address   netip.Addr
	http      *http.Request
	caller    husk.Caller
	expires   time.Time // of the token
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
	return store.NewIdempotency(k, r.operation, r.path, r.body)
}

// contract holds every request to openapi.yaml: the route exists, the token is good, the caller's kind and role may do this, it is not
// one too many, and parameters and body are what the contract says, in this order, so that nobody unknown learns anything from validation.
func (s *Server) contract(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		route, params, err := s.router.FindRoute(r)
		if err != nil {
			s.writeProblem(w, r, routeProblem(err))
			return
		}
		req.operation, req.path, req.address = operationName(route.Operation.OperationID), r.URL.Path, addressOf(r, s.cfg.TrustedProxies)
		s.deprecations[req.operation].tell(w.Header())
		if err := s.admit(r, req); err != nil {
			s.writeProblem(w, r, err)
			return
		}
		ctx := store.WithRequest(r.Context(), store.Request{
			ID: req.id, Operation: req.operation, Caller: req.caller, Address: req.address, IfMatch: r.Header.Get("If-Match"),
		})
		until := time.Time{} // the deadline of the request before on this connection must not end a stream
		if !streams(req.operation, r) {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			until = time.Now().Add(requestTimeout + writeTimeout)
		}
		if err := http.NewResponseController(w).SetWriteDeadline(until); err != nil {
			s.log.Debug("the connection takes no deadline", "request_id", req.id, "error", err)
		}
		r = r.WithContext(ctx)
		if req.body, err = readBody(w, r); err != nil {
			s.writeProblem(w, r, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(req.body))
		if err := validate(r, route, params); err != nil {
			s.writeProblem(w, r, s.badRequest(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(req.body))
		req.http = r
		next.ServeHTTP(w, r)
	})
}

// requestTimeout bounds what a request that is no stream may take: longer than the longest wait inside, for a registry.
const requestTimeout = 30 * time.Second

// streams tells requests that stay open on purpose.
func streams(operation string, r *http.Request) bool {
	return isSession(operation) || operation == "GetPodLogs" || operation == "GetDesiredState" || r.URL.Query().Get("watch") == "true"
}

// readBody reads a body up to its limit. JSON must mean one thing to every decoder: one value, and each name once.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		// A few compressed bytes can stand for gigabytes, and no body of ours is large.
		return nil, husk.Errorf(husk.CodeUnsupportedEncoding, "Content-Encoding", "send the body as it is; %q is not unpacked", encoding)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		drain(w, r)
		return nil, husk.Errorf(husk.CodeTooLarge, "", "the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, husk.Errorf(husk.CodeInvalid, "", "the body could not be read to its end")
	}
	if len(body) > 0 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		if err := strictjson.Check(body, maxDepth); err != nil {
			return nil, husk.Errorf(husk.CodeInvalid, "", "the body: %s", err)
		}
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

// admit verifies the token, or the certificate of an agent, and looks the caller up in the access table, and counts the request.
func (s *Server) admit(r *http.Request, req *request) error {
	req.basicUser, req.basicPass, req.hasBasic = r.BasicAuth()
	rule := s.access[req.operation]
	if rule.public {
		if req.operation == "Healthz" || req.operation == "Readyz" {
			return nil
		}
		return s.limit(r.Context(), s.addresses, addressKey(req.address))
	}
	err := s.authenticate(r, req)
	if husk.CodeOf(err) == husk.CodeUnauthenticated {
		// Whoever guesses is slowed down like whoever logs in.
		if tooMany := s.limit(r.Context(), s.addresses, addressKey(req.address)); tooMany != nil {
			return tooMany
		}
	}
	if err != nil {
		return err
	}
	if req.caller.Kind == husk.CallerTenant && (!isScrape(req.operation) || !s.live.free(req.caller.TenantID, time.Now())) {
		if err := s.limit(r.Context(), s.tenants, req.caller.TenantID.String()); err != nil {
			return err
		}
	}
	return rule.refuse(req.caller)
}

func (s *Server) authenticate(r *http.Request, req *request) error {
	if slices.Contains(s.access[req.operation].kinds, husk.CallerAgent) {
		return s.admitAgent(r, req)
	}
	scheme, token, given := strings.Cut(r.Header.Get("Authorization"), " ")
	if sent, ok := ws.Bearer(r); ok && !given && isSession(req.operation) { // a browser's WebSocket has no such header
		scheme, token = "Bearer", sent
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return husk.Errorf(husk.CodeUnauthenticated, "", "a bearer token is needed; get one from /oauth2/token")
	}
	var err error
	if req.caller, req.expires, err = s.tokens.verify(r.Context(), token); err != nil {
		return err
	}
	if req.caller.Kind != husk.CallerOperator {
		return nil // the store looks in the same transaction whether a tenant's caller is still who the token says
	}
	there, err := s.store.OperatorExists(r.Context(), req.caller.ID)
	if err == nil && !there {
		err = husk.Errorf(husk.CodeUnauthenticated, "", "this operator's credential was removed")
	}
	return err
}

// limit refuses a request that is one too many. A limiter that cannot be asked lets pass: what is behind it will say what is wrong.
func (s *Server) limit(ctx context.Context, l *limiter, key string) error {
	wait, err := l.allow(ctx, key)
	if err != nil {
		s.log.Warn("the rate limit could not be asked; the request goes on", "error", err)
		return nil
	}
	if wait == 0 {
		return nil
	}
	s.metrics.limited.Inc()
	return &rateLimitedError{wait}
}

// rateLimitedError is a problem that says how long to wait.
type rateLimitedError struct{ wait time.Duration }

// Error implements error.
func (r *rateLimitedError) Error() string { return "too many requests" }

// As shows it as a problem.
func (r *rateLimitedError) As(target any) bool {
	shown, ok := target.(**husk.Error)
	if ok {
		*shown = husk.Errorf(husk.CodeRateLimited, "", "too many requests; go on after %d s", retryAfter(r.wait))
	}
	return ok
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
func (s *Server) badRequest(err error) error {
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
		if s.readOnly[name] {
			return husk.Errorf(husk.CodeReadOnlyField, name, "only Husk sets this field; leave it out")
		}
		return husk.Errorf(husk.CodeUnknownField, name, "there is no such field")
	}
	return husk.Errorf(husk.CodeInvalid, field, "%s", schema.Reason)
}

// kindOf names what a path parameter is the id of, in the words that the store uses.
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

// readOnlyProperties returns what the contract marks as set by Husk alone, by name.
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
