// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"husk"
	"husk/openapi"
	"husk/server/held"
	"husk/server/request"
	"husk/session"
	"husk/session/ws"
	"husk/store"
)

// verb describes the requested session.
type verb struct {
	pod       store.ID
	container *string // nil means the pod's only container; unused for verbs without a container
	detail    string  // for the audit log; empty for verbs that only read, which are not recorded
	ask       func(agent string, container *string) (*http.Request, error)
	fits      func(c husk.Container) error // returns an error if the container does not support the session; nil if all do
}

// suits returns an error if the container does not support the session.
func (v verb) suits(pod husk.Pod) error {
	for _, c := range pod.Spec.AllContainers() {
		if v.fits != nil && c.Name == *v.container {
			return v.fits(c)
		}
	}
	return nil
}

// IsSession reports whether an operation is a WebSocket.
func IsSession(operation string) bool {
	switch operation {
	case "ExecInPod", "AttachToPod", "OpenPodConsole", "ForwardPodPort", "CopyFromPod", "CopyToPod":
		return true
	default:
		return false
	}
}

// ExecInPod runs a command in a container.
func (s *Sessions) ExecInPod(ctx context.Context, r openapi.ExecInPodRequestObject) (openapi.ExecInPodResponseObject, error) {
	return s.open(ctx, true, verb{r.PodID, r.Params.Container, commandLine(r.Params.Command), func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewExecInPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// AttachToPod attaches to a container's main process.
func (s *Sessions) AttachToPod(ctx context.Context, r openapi.AttachToPodRequestObject) (openapi.AttachToPodResponseObject, error) {
	detail := "attach"
	if openapi.Value(r.Params.Stdin) {
		detail += " with input"
	}
	ask := func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewAttachToPodRequest(agent, r.PodID, &r.Params)
	}
	return s.open(ctx, true, verb{r.PodID, r.Params.Container, detail, ask, func(c husk.Container) error {
		switch {
		case openapi.Value(r.Params.Stdin) && !c.Stdin:
			return husk.Errorf(husk.CodeConflict, "stdin", "container %s has no standard input. Leave stdin out, or create the pod with stdin: true", c.Name)
		case openapi.Value(r.Params.Tty) && !c.TTY:
			return husk.Errorf(husk.CodeConflict, "tty", "container %s has no terminal. Leave tty out, or create the pod with tty: true", c.Name)
		default:
			return nil
		}
	}})
}

// OpenPodConsole follows the console of a pod's virtual machine.
func (s *Sessions) OpenPodConsole(ctx context.Context, r openapi.OpenPodConsoleRequestObject) (openapi.OpenPodConsoleResponseObject, error) {
	return s.open(ctx, false, verb{r.PodID, nil, "", func(agent string, _ *string) (*http.Request, error) {
		return openapi.NewOpenPodConsoleRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// ForwardPodPort connects to a port in a pod.
func (s *Sessions) ForwardPodPort(ctx context.Context, r openapi.ForwardPodPortRequestObject) (openapi.ForwardPodPortResponseObject, error) {
	return s.open(ctx, false, verb{r.PodID, nil, fmt.Sprintf("port %d", r.Params.Port), func(agent string, _ *string) (*http.Request, error) {
		return openapi.NewForwardPodPortRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// CopyFromPod sends files from a container as an archive.
func (s *Sessions) CopyFromPod(ctx context.Context, r openapi.CopyFromPodRequestObject) (openapi.CopyFromPodResponseObject, error) {
	return s.open(ctx, true, verb{r.PodID, r.Params.Container, "from " + r.Params.Path, func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewCopyFromPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// CopyToPod unpacks an archive in a container.
func (s *Sessions) CopyToPod(ctx context.Context, r openapi.CopyToPodRequestObject) (openapi.CopyToPodResponseObject, error) {
	return s.open(ctx, true, verb{r.PodID, r.Params.Container, "to " + r.Params.Path, func(agent string, container *string) (*http.Request, error) {
		r.Params.Container = container
		return openapi.NewCopyToPodRequest(agent, r.PodID, &r.Params)
	}, nil})
}

// commandLine joins a command, with quotes so that the arguments can be told apart.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\$") {
			quoted[i] = fmt.Sprintf("%q", arg)
		}
	}
	return strings.Join(quoted, " ")
}

// open prepares a session. It checks that the caller is authorized, the pod exists and the request is a WebSocket, records the session in the audit log,
// and has the agent of the pod's node start it. An error until then is a problem like any other. Browsers hide the response to a refused WebSocket, so a
// browser gets the problem as the first frame.
func (s *Sessions) open(ctx context.Context, inContainer bool, v verb) (*opened, error) {
	req := request.Of(ctx)
	o := &opened{sessions: s, ctx: ctx, request: req, pod: v.pod, leave: func() {}}
	if err := s.checkOrigin(req.HTTP); err != nil {
		return nil, err
	}
	pod, err := s.store.Tenant(req.Caller).Pod(ctx, v.pod)
	if err != nil {
		return nil, err
	}
	if inContainer {
		container, err := chooseContainer(pod, v.container)
		if err != nil {
			return nil, err
		}
		v.container, v.detail = &container, "container "+container+": "+v.detail
	}
	if !ws.IsUpgrade(req.HTTP) {
		return nil, husk.Errorf(husk.CodeUpgradeRequired, "", "open this as a WebSocket of the subprotocol %s", session.Protocol)
	}
	if err = v.suits(pod); err == nil {
		err = s.begin(ctx, o, v, pod)
	}
	if refused, ok := errors.AsType[*husk.Error](err); ok && req.HTTP.Header.Get("Origin") != "" {
		o.leave()
		return &opened{sessions: s, ctx: ctx, request: req, pod: v.pod, leave: func() {}, refused: refused}, nil
	}
	if err != nil {
		o.leave()
		return nil, err
	}
	return o, nil
}

// begin records the session in the audit log and has the agent start it.
func (s *Sessions) begin(ctx context.Context, o *opened, v verb, pod husk.Pod) error {
	tenant := s.store.Tenant(o.request.Caller)
	leave, err := s.held.Take(o.request.Caller.TenantID, held.Sessions)
	if err != nil {
		return err
	}
	o.leave = leave
	var node husk.Node
	var placed bool
	if v.detail == "" {
		node, placed, err = tenant.NodeOfPod(ctx, v.pod)
	} else {
		pod, node, placed, err = tenant.OpenSession(ctx, v.pod, v.detail)
	}
	if err != nil {
		return err
	}
	if !placed {
		return husk.Errorf(husk.CodeConflict, "", "the pod %s, so its virtual machine does not run%s", nowhere(pod), because(pod))
	}
	ask, err := v.ask(node.Endpoint, v.container)
	if err != nil {
		return err
	}
	conn, err := s.agents.Dial(ctx, node, ask.URL.String())
	o.agent = conn
	return err
}

// nowhere says why a pod is on no node.
func nowhere(pod husk.Pod) string {
	if pod.Status.Phase == husk.PhasePending {
		return "is not placed yet"
	}
	return "is " + string(pod.Status.Phase) + " and on no node"
}

// because returns the reason why a pod is not placed, for the end of a message, and nothing if there is no reason yet.
func because(pod husk.Pod) string {
	if pod.Status.Message == "" {
		return ""
	}
	return ": " + pod.Status.Message
}

// checkOrigin keeps pages of other sites from opening sessions. They have no token anyway; this is a second line of defence.
func (s *Sessions) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	from, err := url.Parse(origin)
	if err == nil && from.Host != "" {
		own, e := url.Parse(s.issuer)
		if strings.EqualFold(from.Host, r.Host) || e == nil && strings.EqualFold(from.Host, own.Host) {
			return nil
		}
	}
	return husk.Errorf(husk.CodeForbidden, "Origin", "pages of other sites cannot open sessions")
}
