package manifest

import "strings"

const elsewhere = "Husk decides where a pod runs; leave it out"

// kubernetesReasons say what to do instead of fields that people bring along.
var kubernetesReasons = map[string]string{ //nolint:gosec // words about secrets, and none
	"metadata.namespace":         "there are no namespaces; the tenant is that of the login, choose it with --context",
	"metadata.annotations":       "there are no annotations; use labels",
	"metadata.generateName":      "give a name; husk run makes one by itself",
	"status":                     "only Husk says how a pod is; leave it out",
	"spec.initContainers":        "there are no init containers yet",
	"spec.ephemeralContainers":   "there are no ephemeral containers",
	"spec.nodeName":              elsewhere,
	"spec.affinity.nodeAffinity": "name the node's labels in nodeSelector",
	"spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution":     "only required terms are known; leave it out",
	"spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution": "only required terms are known; leave it out",
	"spec.priorityClassName":                     "give the number, in priority",
	"spec.hostNetwork":                           "a pod is a machine of its own, with its own network; leave it out",
	"spec.hostPID":                               "a pod is a machine of its own; leave it out",
	"spec.hostIPC":                               "a pod is a machine of its own; leave it out",
	"spec.runtimeClassName":                      "every pod is a virtual machine; leave it out",
	"spec.serviceAccountName":                    "pods get no credentials of Husk; leave it out",
	"spec.serviceAccount":                        "pods get no credentials of Husk; leave it out",
	"spec.automountServiceAccountToken":          "pods get no credentials of Husk; leave it out",
	"spec.imagePullSecrets":                      "import the image with its login first: husk image import REFERENCE --username NAME --password-stdin",
	"spec.securityContext":                       "say as whom each container runs with user, in a document of husk/v1",
	"spec.containers[].securityContext":          "say as whom the container runs with user, in a document of husk/v1",
	"spec.containers[].ports":                    "all ports of a pod are open to the tenant's other pods; leave it out",
	"spec.containers[].env[].valueFrom":          "only value is taken; put the value here",
	"spec.containers[].envFrom":                  "only env with values is taken; put the variables there",
	"spec.containers[].imagePullPolicy":          "an image is imported once and never pulled; leave it out",
	"spec.containers[].livenessProbe":            "there are no health checks yet",
	"spec.containers[].readinessProbe":           "there are no health checks yet",
	"spec.containers[].startupProbe":             "there are no health checks yet",
	"spec.containers[].lifecycle":                "there are no hooks; containers are stopped by the image's stop signal",
	"spec.containers[].volumeMounts[].subPath":   "a volume is mounted whole",
	"spec.containers[].resources.claims":         "only cpu and memory can be asked for",
	"spec.volumes[].configMap":                   "there are no config maps; put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].secret":                      "there are no secrets; put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].projected":                   "put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].downwardAPI":                 "put the files into containers[].files of a document of husk/v1",
	"spec.volumes[].emptyDir":                    "a container's own file system may be written to; leave the volume out, or make one with husk volume create",
	"spec.volumes[].hostPath":                    "a pod is a machine of its own and sees no host; make a volume with husk volume create and name it by persistentVolumeClaim.claimName",
	"spec.volumes[].nfs":                         "make a volume with husk volume create and name it by persistentVolumeClaim.claimName",
	"spec.volumes[].csi":                         "make a volume with husk volume create and name it by persistentVolumeClaim.claimName",
	"spec.volumes[].ephemeral":                   "make a volume with husk volume create and name it by persistentVolumeClaim.claimName",
	"spec.containers[].resources.limits.":        "only cpu and memory can be asked for",
	"spec.containers[].resources.requests.":      "only cpu and memory can be asked for",
	"spec.containers[].terminationMessagePath":   "messages are the container's log; leave it out",
	"spec.containers[].terminationMessagePolicy": "messages are the container's log; leave it out",
}

// kubernetesReason explains a field by its path without indexes. A path that ends in a full stop in the table stands for all below it.
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
