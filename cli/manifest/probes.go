// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"
	"strconv"
	"strings"

	"husk/openapi"
)

// The probes and hooks of a Kubernetes container.
type (
	kubernetesProbe struct {
		kubernetesAction

		GRPC *struct {
			Port    int    `json:"port"`
			Service string `json:"service"`
		} `json:"grpc"`
		InitialDelaySeconds           int `json:"initialDelaySeconds"`
		PeriodSeconds                 int `json:"periodSeconds"`
		TimeoutSeconds                int `json:"timeoutSeconds"`
		SuccessThreshold              int `json:"successThreshold"`
		FailureThreshold              int `json:"failureThreshold"`
		TerminationGracePeriodSeconds int `json:"terminationGracePeriodSeconds"`
	}
	kubernetesHook struct {
		kubernetesAction

		Sleep *struct {
			Seconds int `json:"seconds"`
		} `json:"sleep"`
	}
	kubernetesAction struct {
		Exec *struct {
			Command []string `json:"command"`
		} `json:"exec"`
		HTTPGet *struct {
			Path    string   `json:"path"`
			Port    portText `json:"port"`
			Host    string   `json:"host"`
			Scheme  string   `json:"scheme"`
			Headers []struct {
				Name  string `json:"name"`
				Value string `json:"value"`
			} `json:"httpHeaders"`
		} `json:"httpGet"`
		TCPSocket *struct {
			Port portText `json:"port"`
			Host string   `json:"host"`
		} `json:"tcpSocket"`
	}
	kubernetesLifecycle struct {
		PostStart  *kubernetesHook `json:"postStart"`
		PreStop    *kubernetesHook `json:"preStop"`
		StopSignal string          `json:"stopSignal"`
	}
)

// portText is the number or the name of a port.
type portText string

func (p *portText) set(text string) error {
	*p = portText(text)
	return nil
}

// health translates the probes, the hooks and the stop signal.
func (t *translation) health(c *kubernetesContainer, at string, out *openapi.Container) {
	for name, p := range map[string]struct {
		from *kubernetesProbe
		to   **openapi.Probe
	}{
		"startupProbe": {c.StartupProbe, &out.StartupProbe}, "readinessProbe": {c.ReadinessProbe, &out.ReadinessProbe},
		"livenessProbe": {c.LivenessProbe, &out.LivenessProbe},
	} {
		if p.from != nil {
			*p.to = t.probe(c, *p.from, at+"."+name)
		}
	}
	for name, h := range map[string]struct {
		from *kubernetesHook
		to   **openapi.Hook
	}{"postStart": {c.Lifecycle.PostStart, &out.PostStart}, "preStop": {c.Lifecycle.PreStop, &out.PreStop}} {
		from := at + ".lifecycle." + name
		t.origins[at+"."+name] = from
		if h.from != nil {
			*h.to = t.hook(c, *h.from, from)
		}
	}
	if s := c.Lifecycle.StopSignal; s != "" {
		out.StopSignal = &s
		t.origins[at+".stopSignal"] = at + ".lifecycle.stopSignal"
	}
}

func (t *translation) probe(c *kubernetesContainer, from kubernetesProbe, at string) *openapi.Probe {
	out := openapi.Probe{Exec: from.command(), HTTPGet: t.httpGet(c, from.kubernetesAction, at)}
	if s := from.TCPSocket; s != nil {
		t.checkHost(s.Host, at+".tcpSocket.host")
		port := t.port(c, s.Port, at+".tcpSocket.port")
		out.TCPPort = &port
		t.origins[at+".tcpPort"] = at + ".tcpSocket.port"
	}
	if g := from.GRPC; g != nil {
		out.Grpc = &openapi.GRPCPort{Port: g.Port}
		if g.Service != "" {
			out.Grpc.Service = &g.Service
		}
	}
	for value, to := range map[*int]**int{ // zero is the default
		&from.InitialDelaySeconds: &out.InitialDelaySeconds, &from.PeriodSeconds: &out.PeriodSeconds, &from.TimeoutSeconds: &out.TimeoutSeconds,
		&from.SuccessThreshold: &out.SuccessThreshold, &from.FailureThreshold: &out.FailureThreshold,
		&from.TerminationGracePeriodSeconds: &out.TerminationGracePeriodSeconds,
	} {
		if *value != 0 {
			*to = value
		}
	}
	return &out
}

func (t *translation) hook(c *kubernetesContainer, from kubernetesHook, at string) *openapi.Hook {
	out := openapi.Hook{Exec: from.command(), HTTPGet: t.httpGet(c, from.kubernetesAction, at)}
	if from.TCPSocket != nil {
		t.refuse(at+".tcpSocket", "Kubernetes does not support this hook either; use exec, httpGet or sleep")
	}
	if from.Sleep != nil && from.Sleep.Seconds == 0 {
		return nil
	}
	if from.Sleep != nil {
		out.SleepSeconds = &from.Sleep.Seconds
		t.origins[at+".sleepSeconds"] = at + ".sleep.seconds"
	}
	return &out
}

func (a kubernetesAction) command() *[]string {
	if a.Exec == nil {
		return nil
	}
	return &a.Exec.Command
}

func (t *translation) httpGet(c *kubernetesContainer, from kubernetesAction, at string) *openapi.HTTPGet {
	get := from.HTTPGet
	if get == nil {
		return nil
	}
	at += ".httpGet"
	t.checkHost(get.Host, at+".host")
	t.origins[at+".headers"] = at + ".httpHeaders"
	out := openapi.HTTPGet{Port: t.port(c, get.Port, at+".port")}
	if get.Path != "" {
		out.Path = &get.Path
	}
	switch get.Scheme {
	case "", "HTTP":
	case "HTTPS":
		scheme := openapi.HTTPS
		out.Scheme = &scheme
	default:
		t.refuse(at+".scheme", "expected HTTP or HTTPS")
	}
	if len(get.Headers) > 0 {
		var headers []openapi.HTTPHeader
		for _, h := range get.Headers {
			headers = append(headers, openapi.HTTPHeader{Name: h.Name, Value: h.Value})
		}
		out.Headers = &headers
	}
	return &out
}

func (t *translation) checkHost(host, at string) {
	if host != "" {
		t.refuse(at, "Husk connects to the pod's own address; leave the field out, and set the header Host if the service needs it")
	}
}

// port returns the number of a port that may be given by its name.
func (t *translation) port(c *kubernetesContainer, text portText, at string) int {
	if n, err := strconv.ParseUint(string(text), 10, 16); err == nil && n > 0 {
		return int(n)
	}
	i := slices.IndexFunc(c.Ports, func(p kubernetesPort) bool { return p.Name == string(text) })
	if i < 0 || text == "" {
		t.refuse(at, "the container has no port named %q; give its number, or add it to the container's ports", strings.TrimSpace(string(text)))
		return 1
	}
	return c.Ports[i].ContainerPort
}
