// SPDX-License-Identifier: Apache-2.0

// Package instead says what users do in Husk instead of what Kubernetes has and Husk has not.
package instead

const (
	asPods   = "copy the Pod from spec.template into a document of its own for each replica"
	noAccess = "Husk's roles belong to users and service accounts; use \"husk users create\" or \"husk service-accounts create\""
	noRules  = "leave the document out"
)

// Of says what to do instead of a kind of Kubernetes that has no counterpart.
var Of = map[string]string{ //nolint:gosec // text about secrets, not secrets
	"Deployment":              asPods + "; Husk does not replace pods by itself",
	"ReplicaSet":              asPods + "; Husk does not replace pods by itself",
	"ReplicationController":   asPods + "; Husk does not replace pods by itself",
	"StatefulSet":             asPods + ", with a PersistentVolumeClaim for each",
	"DaemonSet":               "copy the Pod from spec.template into a document for each node, with nodeSelector: {node: NAME}",
	"Job":                     "copy the Pod from spec.template into a document of its own, with restartPolicy Never or OnFailure, and apply it",
	"CronJob":                 "run \"husk run\" from a scheduler of your own, such as cron",
	"Endpoints":               "a service finds its pods by their labels, and \"husk services\" shows them; leave the document out",
	"EndpointSlice":           "a service finds its pods by their labels, and \"husk services\" shows them; leave the document out",
	"IngressClass":            "the platform serves all ingresses; leave the document out",
	"Namespace":               "objects belong to a tenant, which --context selects; leave the document out",
	"PersistentVolume":        "Husk creates volumes itself; apply a PersistentVolumeClaim or a Volume of husk/v1",
	"StorageClass":            "all volumes are of the same kind; leave the document out",
	"ServiceAccount":          "pods get no credentials of Husk; for a program that calls the API, use \"husk service-accounts create\"",
	"Role":                    noAccess,
	"ClusterRole":             noAccess,
	"RoleBinding":             noAccess,
	"ClusterRoleBinding":      noAccess,
	"HorizontalPodAutoscaler": "apply as many pods as you need",
	"PodDisruptionBudget":     "set spec.scheduling.disruption in a Pod of husk/v1",
	"PodSecurityPolicy":       noRules,
	"PriorityClass":           "set the field priority of the Pod to a number",
	"LimitRange":              "set the resources of each Pod; " + noRules,
	"ResourceQuota":           "an operator sets the quota of a tenant; \"husk quota\" shows it",
	"PodTemplate":             "copy the Pod from template into a document of its own",
	"RuntimeClass":            "every pod is a virtual machine; " + noRules,
}
