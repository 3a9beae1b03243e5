// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/instead"
)

// bookkeeping are the fields that only Kubernetes sets, which kubectl get prints.
var bookkeeping = []string{
	"status", "metadata.creationTimestamp", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion", "metadata.selfLink",
	"metadata.uid", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds",
}

// informational is a field without a counterpart that Husk accepts.
type informational struct {
	defaults []string // values that say what Husk does anyway
	warning  string   // for all other values; if it is empty, they are refused
}

const (
	noNamespaces  = "Husk has no namespaces; the object belongs to the tenant of your login"
	noCredentials = "ignored: pods get no credentials of Husk" //nolint:gosec // text about credentials, not credentials
)

// informationalFields are the fields of a Pod that Husk accepts although it does nothing with them: they inform, they are defaults, or they
// make no difference in a virtual machine of the pod's own. A field that protects something is not one of them.
var informationalFields = map[string]informational{
	"metadata.finalizers":                                 {warning: "ignored: Husk has no finalizers"},
	"metadata.ownerReferences":                            {warning: "ignored: a pod of Husk has no owner"},
	"spec.automountServiceAccountToken":                   {defaults: []string{"false"}, warning: noCredentials},
	"spec.enableServiceLinks":                             {defaults: []string{"true", "false"}},
	"spec.hostIPC":                                        {defaults: []string{"false"}},
	"spec.hostNetwork":                                    {defaults: []string{"false"}},
	"spec.hostPID":                                        {defaults: []string{"false"}},
	"spec.hostUsers":                                      {defaults: []string{"true"}, warning: "ignored: every pod is a virtual machine, whose users are not those of the node"},
	"spec.preemptionPolicy":                               {defaults: []string{"PreemptLowerPriority"}},
	"spec.schedulerName":                                  {defaults: []string{"default-scheduler"}, warning: "ignored: Husk has one scheduler"},
	"spec.serviceAccount":                                 {defaults: []string{"default"}, warning: noCredentials},
	"spec.setHostnameAsFQDN":                              {defaults: []string{"false"}},
	"spec.shareProcessNamespace":                          {defaults: []string{"false"}},
	"spec.containers[].imagePullPolicy":                   {defaults: []string{"IfNotPresent", "Never"}, warning: "ignored: Husk imports an image once and does not pull it again"},
	"spec.containers[].resizePolicy":                      {warning: "ignored: the size of a pod does not change"},
	"spec.containers[].securityContext.procMount":         {defaults: []string{"Default"}},
	"spec.containers[].volumeMounts[].mountPropagation":   {defaults: []string{"None"}},
	"spec.containers[].volumeMounts[].recursiveReadOnly":  {defaults: []string{"Disabled"}},
	"spec.topologySpreadConstraints[].minDomains":         {defaults: []string{"1"}},
	"spec.topologySpreadConstraints[].nodeAffinityPolicy": {defaults: []string{"Honor"}},
	"spec.topologySpreadConstraints[].nodeTaintsPolicy":   {defaults: []string{"Ignore"}},
	"spec.securityContext.fsGroupChangePolicy":            {warning: "ignored: the files of a volume are given to the group only if the volume does not belong to it yet"},
	"spec.securityContext.supplementalGroupsPolicy":       {defaults: []string{"Merge"}},
}

// judgePodField judges a field of a Kubernetes Pod that has no counterpart.
func judgePodField(path string, value *yaml.Node) (refusal, warning string) {
	path = strings.Replace(path, "spec.initContainers[]", "spec.containers[]", 1)
	field, known := informationalFields[path]
	switch {
	case isNull(value), slices.Contains(bookkeeping, path):
		return "", ""
	case known && (isEmpty(value) || value.Kind == yaml.ScalarNode && slices.Contains(field.defaults, value.Value)):
		return "", ""
	case known && field.warning != "":
		return "", field.warning
	}
	refusal = instead.Reason(path)
	switch {
	case refusal == "":
		return "Husk has no counterpart for this field; leave the field out", ""
	case isEmpty(value) && !strings.HasPrefix(path, "spec.volumes[]."): // emptyDir: {} is a volume
		return "", ""
	}
	return refusal, ""
}

func isNull(value *yaml.Node) bool { return value.Kind == yaml.ScalarNode && value.Tag == "!!null" }

// isEmpty reports whether a field has the same meaning as one that is missing.
func isEmpty(value *yaml.Node) bool {
	return isNull(value) || value.Kind == yaml.ScalarNode && value.Value == "" || value.Kind != yaml.ScalarNode && len(value.Content) == 0
}
