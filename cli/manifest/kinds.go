// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"
)

// list reads the items of a List, such as the output of kubectl get.
func list(d *decoder, node *yaml.Node) ([]Document, error) {
	var items *yaml.Node
	d.pairs(node, "", func(key, value *yaml.Node) {
		if key.Value == "items" {
			items = resolve(value)
		}
	})
	if d.err() == nil && (items == nil || items.Kind != yaml.SequenceNode) {
		d.refuse("items", "expected a list")
	}
	if d.err() != nil {
		return nil, d.err()
	}
	var docs []Document
	for i, item := range items.Content {
		item = resolve(item)
		if kind := fieldOf(item, "kind"); kind != nil && kind.Value == "List" {
			d.fail(item, fmt.Sprintf("items[%d]", i), "a List cannot contain another List; put its items here")
			continue
		}
		found, err := read(d.file, item)
		if p, ok := errors.AsType[MistakeErrors](err); ok {
			d.problems = append(d.problems, p...)
			continue
		}
		docs = append(docs, found...)
	}
	return docs, d.err()
}

const (
	asPods   = "copy the Pod from spec.template into a document of its own for each replica"
	noAccess = "Husk's roles belong to users and service accounts; use \"husk users create\" or \"husk service-accounts create\""
	noRules  = "leave the document out"
)

// kinds say what to do instead of a kind of Kubernetes that has no counterpart.
var kinds = map[string]string{ //nolint:gosec // text about secrets, not secrets
	"Deployment":              asPods + "; Husk does not replace pods by itself",
	"ReplicaSet":              asPods + "; Husk does not replace pods by itself",
	"ReplicationController":   asPods + "; Husk does not replace pods by itself",
	"StatefulSet":             asPods + ", with a PersistentVolumeClaim for each",
	"DaemonSet":               "copy the Pod from spec.template into a document for each node, with nodeSelector: {node: NAME}",
	"Job":                     "copy the Pod from spec.template into a document of its own, with restartPolicy Never or OnFailure, and apply it",
	"CronJob":                 "run \"husk run\" from a scheduler of your own, such as cron",
	"Endpoints":               "a service finds its pods by their labels, and \"husk services\" shows them; leave the document out",
	"EndpointSlice":           "a service finds its pods by their labels, and \"husk services\" shows them; leave the document out",
	"Ingress":                 "run a reverse proxy in a pod; \"husk port-forward\" reaches it from outside",
	"IngressClass":            "run a reverse proxy in a pod; \"husk port-forward\" reaches it from outside",
	"Namespace":               "objects belong to a tenant, which --context selects; leave the document out",
	"PersistentVolume":        "Husk creates volumes itself; apply a PersistentVolumeClaim or a Volume of " + APIVersion,
	"StorageClass":            "all volumes are of the same kind; leave the document out",
	"ServiceAccount":          "pods get no credentials of Husk; for a program that calls the API, use \"husk service-accounts create\"",
	"Role":                    noAccess,
	"ClusterRole":             noAccess,
	"RoleBinding":             noAccess,
	"ClusterRoleBinding":      noAccess,
	"HorizontalPodAutoscaler": "apply as many pods as you need",
	"PodDisruptionBudget":     "set spec.scheduling.disruption in a Pod of " + APIVersion,
	"PodSecurityPolicy":       noRules,
	"PriorityClass":           "set the field priority of the Pod to a number",
	"LimitRange":              "set the resources of each Pod; " + noRules,
	"ResourceQuota":           "an operator sets the quota of a tenant; \"husk quota\" shows it",
	"PodTemplate":             "copy the Pod from template into a document of its own",
	"RuntimeClass":            "every pod is a virtual machine; " + noRules,
}

// otherKind returns why a document of this kind is refused.
func otherKind(h header) string {
	what := fmt.Sprintf("Husk has no %s (%s)", h.Kind, h.APIVersion)
	if instead, known := kinds[h.Kind]; known {
		return what + ": " + instead
	}
	return fmt.Sprintf("%s; it accepts Pod, Volume, Image, Config, Secret, Network, Service, Address and SecurityGroup of %s, and Pod, PersistentVolumeClaim, ConfigMap, Secret, Service and List of v1, and NetworkPolicy of networking.k8s.io/v1", what, APIVersion)
}
