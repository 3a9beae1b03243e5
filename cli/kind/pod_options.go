// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"fmt"
	"strconv"
	"strings"

	"husk/cli/print"
	"husk/openapi"
)

// Options returns the names and values of the options that a container sets.
func Options(c openapi.Container) [][2]string {
	var out [][2]string
	add := func(name, value string) {
		if value != "" {
			out = append(out, [2]string{name, value})
		}
	}
	yes := func(name string, is *bool) {
		if openapi.Value(is) {
			add(name, "yes")
		}
	}
	add("Restart policy", string(openapi.Value(c.RestartPolicy)))
	if c.MaxRestarts != nil {
		add("Maximum of restarts", strconv.Itoa(*c.MaxRestarts))
	}
	if l := c.Limits; l != nil {
		var limits []string
		if l.CPUMillis != nil {
			limits = append(limits, print.Cores(*l.CPUMillis)+" cores")
		}
		if l.MemoryMiB != nil {
			limits = append(limits, fmt.Sprintf("%d MiB", *l.MemoryMiB))
		}
		add("Limits", strings.Join(limits, ", "))
	}
	var ulimits []string
	for _, u := range openapi.Value(c.Ulimits) {
		ulimits = append(ulimits, fmt.Sprintf("%s %d (hard %d)", u.Name, u.Soft, u.Hard))
	}
	var devices []string
	for _, d := range openapi.Value(c.VolumeDevices) {
		devices = append(devices, d.Volume+" at "+d.DevicePath)
	}
	add("Devices", strings.Join(devices, ", "))
	add("Ulimits", strings.Join(ulimits, ", "))
	add("Startup probe", probe(c.StartupProbe))
	add("Readiness probe", probe(c.ReadinessProbe))
	add("Liveness probe", probe(c.LivenessProbe))
	add("After its start", hook(c.PostStart))
	add("Before its stop", hook(c.PreStop))
	add("Stop signal", openapi.Value(c.StopSignal))
	add("Groups", strings.Join(openapi.Value(c.Groups), ", "))
	add("Added capabilities", strings.Join(openapi.Value(c.CapabilitiesAdd), ", "))
	add("Dropped capabilities", strings.Join(openapi.Value(c.CapabilitiesDrop), ", "))
	yes("Init process", c.InitProcess)
	yes("Privileged", c.Privileged)
	yes("Read-only root", c.ReadOnlyRoot)
	yes("No new privileges", c.NoNewPrivileges)
	yes("Not as root", c.NonRoot)
	return out
}

func probe(p *openapi.Probe) string {
	if p == nil {
		return ""
	}
	text := action(p.Exec, p.HTTPGet)
	switch {
	case p.TCPPort != nil:
		text = fmt.Sprintf("TCP port %d", *p.TCPPort)
	case p.Grpc != nil:
		text = strings.TrimSpace(fmt.Sprintf("gRPC port %d %s", p.Grpc.Port, openapi.Value(p.Grpc.Service)))
	}
	for _, n := range []struct {
		text  string
		value *int
	}{
		{"every %d s", p.PeriodSeconds},
		{"after %d s", p.InitialDelaySeconds},
		{"timeout %d s", p.TimeoutSeconds},
		{"%d successes", p.SuccessThreshold},
		{"%d failures", p.FailureThreshold},
	} {
		if n.value != nil {
			text += ", " + fmt.Sprintf(n.text, *n.value)
		}
	}
	return text
}

func hook(h *openapi.Hook) string {
	switch {
	case h == nil:
		return ""
	case h.SleepSeconds != nil:
		return fmt.Sprintf("sleep %d s", *h.SleepSeconds)
	default:
		return action(h.Exec, h.HTTPGet)
	}
}

func action(exec *[]string, get *openapi.HTTPGet) string {
	if get != nil {
		scheme := "http"
		if get.Scheme != nil {
			scheme = string(*get.Scheme)
		}
		path := "/"
		if get.Path != nil {
			path = *get.Path
		}
		return fmt.Sprintf("GET %s port %d %s", scheme, get.Port, path)
	}
	return strings.Join(openapi.Value(exec), " ")
}
