// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"os"
	"testing"
)

// An error of the API names a field of the request. The command line names the field of the document, with its line.
func TestFieldsOfARequestAreLocatedInTheDocument(t *testing.T) {
	t.Parallel()
	type location struct{ where, path string }
	for name, fields := range map[string]map[string]location{
		"kubectl-get": {
			"name":                                  {"file:22", "metadata.name"},
			"labels":                                {"file:11", "metadata.labels"},
			"spec.resources.cpuMillis":              {"file:35", "spec.containers[0].resources.limits.cpu"},
			"spec.resources.memoryMiB":              {"file:36", "spec.containers[0].resources.limits.memory"},
			"spec.volumes[0].volumeId":              {"file:89", "spec.volumes[1].persistentVolumeClaim.claimName"},
			"spec.containers[0].volumeMounts[0]":    {"file:43", "spec.containers[0].volumeMounts[0]"},
			"spec.containers[0].image":              {"file:30", "spec.containers[0].image"},
			"spec.scheduling.priority":              {"file:52", "spec.priority"},
			"spec.containers[0].env[3].value":       {"file:28", "spec.containers[0].env[3].value"},
			"spec.containers[99].image":             {"file:27", "spec.containers[99].image"},
			"Idempotency-Key":                       {"file:3", "Idempotency-Key"},
			"":                                      {"file:3", ""},
			`metadata.labels."run"`:                 {"file:12", `metadata.labels."run"`},
			"spec.containers[0].command[0].x[1].y.": {"file:28", "spec.containers[0].command[0].x[1].y."},
		},
		"kubernetes-nodes": {
			"spec.scheduling.rules[0].label":        {"file:19", "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector"},
			"spec.scheduling.nodeSelector.zone":     {"file:4", "spec.nodeSelector.zone"},
			"spec.resources.memoryMiB":              {"file:6", "spec.resources.limits.memory"},
			"spec.scheduling.preferredNodeSelector": {"file:4", "spec.preferredNodeSelector"},
		},
		"native-scheduling": {
			"spec.scheduling.rules[1].maxSkew": {"file:13", "spec.scheduling.rules[1].maxSkew"},
			"spec.resources.memoryMiB":         {"file:7", "spec.resources.memoryMiB"},
			"name":                             {"file:3", "name"},
		},
	} {
		raw, err := os.ReadFile("testdata/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		docs, err := Parse("file", raw)
		if err != nil {
			t.Fatal(err)
		}
		for field, want := range fields {
			var got location
			if got.where, got.path = docs[0].Locate(field); got != want {
				t.Errorf("%s, %s: %v, want %v", name, field, got, want)
			}
		}
	}
}
