// SPDX-License-Identifier: Apache-2.0

package instead

import "strings"

// NoWindows says why Husk does not run a container of Windows.
const NoWindows = "Husk runs Linux containers only"

// reasons say why Husk does not accept a field of Kubernetes, or what to use instead.
var reasons = map[string]string{ //nolint:gosec // text about secrets, not secrets
	"spec.ephemeralContainers":                               "there are no ephemeral containers",
	"spec.hostNetwork":                                       "a pod is a virtual machine with its own network; leave the field out",
	"spec.hostPID":                                           "a pod is a virtual machine; leave the field out",
	"spec.hostIPC":                                           "a pod is a virtual machine; leave the field out",
	"spec.runtimeClassName":                                  "every pod is a virtual machine; leave the field out",
	"spec.containers[].resources.claims":                     "only cpu, memory and ephemeral-storage are supported",
	"spec.containers[].env[].valueFrom.fileKeyRef":           "put the text into env[].value",
	"spec.containers[].volumeMounts[].mountPropagation":      "mounts inside a container stay there; leave the field out",
	"spec.containers[].securityContext.seLinuxOptions":       "there is no SELinux in a pod; leave the field out",
	"spec.containers[].securityContext.windowsOptions":       NoWindows,
	"spec.securityContext.seLinuxOptions":                    "there is no SELinux in a pod; leave the field out",
	"spec.securityContext.windowsOptions":                    NoWindows,
	"spec.preemptionPolicy":                                  "a pod with a higher priority always preempts; set a lower priority, and leave the field out",
	"spec.readinessGates":                                    "there are no conditions of a pod; leave the field out",
	"spec.resourceClaims":                                    "only cpu, memory and ephemeral-storage are supported",
	"spec.schedulingGates":                                   "a pod is scheduled at once; apply it later, and leave the field out",
	"spec.setHostnameAsFQDN":                                 "the host name of a pod is its name; leave the field out",
	"spec.shareProcessNamespace":                             "each container of a pod has its own processes; leave the field out",
	"spec.subdomain":                                         "the host name of a pod is its name; leave the field out",
	"spec.volumes[].image":                                   "put the files into the container's image",
	"spec.overhead":                                          "Husk adds the memory of the virtual machine monitor itself; leave the field out",
	"spec.volumes[].projected.sources[].clusterTrustBundle":  "put the certificates into a ConfigMap",
	"spec.volumes[].projected.sources[].serviceAccountToken": "pods get no credentials of Husk; for a program that calls the API, put an API key into a Secret",
	"spec.volumes[].hostPath":                                "a pod is a virtual machine without access to its host; create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].nfs":                                     "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].csi":                                     "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.volumes[].ephemeral":                               "create a volume with \"husk volume create\" and name it with persistentVolumeClaim.claimName",
	"spec.containers[].resources.limits.":                    "only cpu, memory and ephemeral-storage are supported",
	"spec.containers[].resources.requests.":                  "only cpu, memory and ephemeral-storage are supported",
}

// Reason returns why Husk does not accept the field at this path (a path without indexes). An entry of the table that ends in a dot
// applies to all fields below it.
func Reason(path string) string {
	if why, ok := reasons[path]; ok {
		return why
	}
	for above, why := range reasons {
		if strings.HasSuffix(above, ".") && strings.HasPrefix(path, above) {
			return why
		}
	}
	return ""
}
