// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"husk/limits"
)

// husk-init and the agent apply package limits, and the server applies the contract. With other limits, the server would refuse what a guest
// is allowed to say.
func TestThePackageOfLimitsMatchesTheContract(t *testing.T) {
	t.Parallel()
	schemas := spec(t).Components.Schemas
	property := func(schema, name string) *openapi3.Schema {
		p, ok := schemas[schema].Value.Properties[name]
		if !ok {
			t.Fatalf("%s has no %s", schema, name)
		}
		return p.Value
	}
	length := func(schema, name string) *uint64 { return property(schema, name).MaxLength }
	items := func(schema, name string) *uint64 { return property(schema, name).MaxItems }
	highest := func(schema, name string) *uint64 {
		if limit := property(schema, name).Max; limit != nil {
			return new(uint64(*limit))
		}
		return nil
	}
	for _, c := range []struct {
		name string
		want uint64
		got  *uint64
	}{
		{"containers of a pod", limits.Containers, items("PodSpec", "containers")},
		{"groups of a container", limits.Groups, items("Container", "groups")},
		{"the cores of a pod", limits.CPUMillis, highest("Resources", "cpuMillis")},
		{"the memory of a pod", limits.MemoryMiB, highest("Resources", "memoryMiB")},
		{"the cores of a container", limits.CPUMillis, highest("Limits", "cpuMillis")},
		{"the memory of a container", limits.MemoryMiB, highest("Limits", "memoryMiB")},
		{"the period of a probe", limits.ProbeNumber, highest("Probe", "periodSeconds")},
		{"the threshold of a probe", limits.ProbeNumber, highest("Probe", "failureThreshold")},
		{"containers of a report", limits.Containers, items("PodReport", "containers")},
		{"volumes of a pod", limits.Volumes, items("PodSpec", "volumes")},
		{"the name of a container", limits.Name, length("Container", "name")},
		{"the name of a reported container", limits.Name, length("ContainerStatus", "name")},
		{"a pod's reason", limits.Reason, length("PodReport", "reason")},
		{"a container's reason", limits.Reason, length("ContainerStatus", "reason")},
		{"a pod's message", limits.Message, length("PodReport", "message")},
		{"a container's message", limits.Message, length("ContainerStatus", "message")},
		{"a pod's restarts", limits.Restarts, highest("PodReport", "restarts")},
		{"a container's restarts", limits.Restarts, highest("ContainerStatus", "restarts")},
		{"reports of a batch", limits.ReportItems, items("StatusReport", "pods")},
		{"usage intervals of a batch", limits.ReportItems, items("StatusReport", "runs")},
		{"samples of a batch", limits.SampleItems, items("SampleReport", "pods")},
	} {
		if c.got == nil {
			t.Errorf("%s: the contract has no limit", c.name)
		} else if *c.got != c.want {
			t.Errorf("%s: the contract's limit is %d, and package limits has %d", c.name, *c.got, c.want)
		}
	}
}
