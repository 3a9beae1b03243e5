// SPDX-License-Identifier: Apache-2.0

package manifest

import "strings"

const elsewhere = "Husk decides where a pod runs; leave it out"

// kubernetesReasons say why Husk does not accept a field of Kubernetes, or what to use instead.
var kubernetesReasons = map[string]string{ //nolint:gosec // text about secrets, not secrets
	"metadata.namespace":         "there are no namespaces; objects belong to the tenant of your login, which --context selects",
	"metadata.annotations":       "there are no annotations; use labels",
	"metadata.generateName":      "give a name; only \"husk run\" generates names",
	"status":                     "only Husk sets the status; leave it out",
	"spec.initContainers":        "there are no init containers yet",
	"spec.ephemeralContainers":   "there are no ephemeral containers",
	"spec.nodeName":              elsewhere,
	"spec.affinity.nodeAffinity": "use nodeSelector with the labels of the nodes",
	"spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution":     "only required terms are supported; leave it out",
	"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution": "only required terms are supported; leave it out",
	"spec.priorityClassName":                     "set the field priority to a number instead",
	"spec.hostNetwork":                           "a pod is a virtual machine with its own network; leave it out",
	"spec.hostPID":                               "a pod is a virtual machine; leave it out",
	"spec.hostIPC":                               "a pod is a virtual machine; leave it out",
	"spec.runtimeClassName":                      "every pod is a virtual machine; leave it out",
	"spec.serviceAccountName":                    "pods get no credentials of Husk; leave it out",
	"spec.serviceAccount":                        "pods get no credentials of Husk; leave it out",
	"spec.automountServiceAccountToken":          "pods get no credentials of Husk; leave it out",
	"spec.imagePullSecrets":                      "import the image with its credentials first; run \"husk image import REFERENCE --username NAME --password-stdin\"",
	"spec.securityContext":                       "set the user of each container with the field user, in a document of husk/v1",
	"spec.containers[].securityContext":          "set the user of the container with the field user, in a document of husk/v1",
	"spec.containers[].ports":                    "all ports of a pod are open to the tenant's other pods; leave it out",
	"spec.containers[].env[].valueFrom":          "only env[].value is supported; put the text there",
	"spec.containers[].envFrom":                  "put the variables and their values into env instead",
	"spec.containers[].imagePullPolicy":          "an image is imported once and never pulled; leave it out",
	"spec.containers[].livenessProbe":            "there are no health checks yet",
	"spec.containers[].readinessProbe":           "there are no health checks yet",
	"spec.containers[].startupProbe":             "there are no health checks yet",
	"spec.containers[].lifecycle":                "there are no hooks; containers are stopped with the image's stop signal",
	"spec.containers[].volumeMounts[].subPath":   "a volume is always mounted as a whole",
	"spec.containers[].resources.claims":         "only cpu and memory are supported",
	"spec.volumes[].configMap":                   "there are no config maps; put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].secret":                      "there are no secrets; put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].projected":                   "put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].downwardAPI":                 "put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].emptyDir":                    "a container's own file system is writable; leave the volume out, or create one with \"husk volume create\"",
	"spec.volumes[].hostPath":                    "a pod is a virtual machine without access to its host; create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].nfs":                         "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].csi":                         "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].ephemeral":                   "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.containers[].resources.limits.":        "only cpu and memory are supported",
	"spec.containers[].resources.requests.":      "only cpu and memory are supported",
	"spec.containers[].terminationMessagePath":   "there are no termination messages; read the container's log, and leave this out",
	"spec.containers[].terminationMessagePolicy": "there are no termination messages; read the container's log, and leave this out",
}

// kubernetesReason returns why Husk does not accept the field at this path (a path without indexes). An entry of the table that ends in a dot
// applies to all fields below it.
func kubernetesReason(path string) string {
	if why, ok := kubernetesReasons[path]; ok {
		return why
	}
	for above, why := range kubernetesReasons {
		if strings.HasSuffix(above, ".") && strings.HasPrefix(path, above) {
			return why
		}
	}
	return ""
}
