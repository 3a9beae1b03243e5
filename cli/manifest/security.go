// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"
	"strconv"
	"strings"

	"husk/openapi"
)

// kubernetesSecurityContext is that of a pod or of a container. The container's fields have precedence.
type kubernetesSecurityContext struct {
	RunAsUser    *int64 `json:"runAsUser"`
	RunAsGroup   *int64 `json:"runAsGroup"`
	RunAsNonRoot *bool  `json:"runAsNonRoot"`
	Seccomp      struct {
		Type string `json:"type"`
		File string `json:"localhostProfile"`
	} `json:"seccompProfile"`
	AppArmor struct {
		Type string `json:"type"`
		File string `json:"localhostProfile"`
	} `json:"appArmorProfile"`
	Privileged               bool  `json:"privileged"`
	AllowPrivilegeEscalation *bool `json:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool  `json:"readOnlyRootFilesystem"`
	Capabilities             struct {
		Add  []string `json:"add"`
		Drop []string `json:"drop"`
	} `json:"capabilities"`
}

// defaultCapabilities are those of root in a container of Husk; see package guest/seccomp.
var defaultCapabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

// security translates the security context of a container, or refuses it: a protection that Husk does not have cannot be ignored.
func (t *translation) security(c *kubernetesContainer, at string, out *openapi.Container) {
	at += ".securityContext"
	const ofPod = "spec.securityContext"
	pod, own := t.pod.Spec.Security, c.Security
	t.checkContext(at, own)
	if own != nil && own.Privileged {
		out.Privileged = &own.Privileged
	}
	user, userFrom := effective(pod, own, ofPod, at, "runAsUser", func(s *kubernetesSecurityContext) *int64 { return s.RunAsUser })
	group, groupFrom := effective(pod, own, ofPod, at, "runAsGroup", func(s *kubernetesSecurityContext) *int64 { return s.RunAsGroup })
	nonRoot, nonRootFrom := effective(pod, own, ofPod, at, "runAsNonRoot", func(s *kubernetesSecurityContext) *bool { return s.RunAsNonRoot })
	if nonRoot != nil && *nonRoot && (user == nil || *user == 0) {
		t.refuse(nonRootFrom, "Husk does not check the user of the image; set runAsUser to a number other than 0")
	}
	switch {
	case user != nil:
		text := strconv.FormatInt(*user, 10)
		if group != nil {
			text += ":" + strconv.FormatInt(*group, 10)
		}
		out.User = &text
		t.origins[strings.TrimSuffix(at, ".securityContext")+".user"] = userFrom
	case group != nil:
		t.refuse(groupFrom, "a group needs a user; set runAsUser as well")
	}
}

// checkContext refuses what Husk cannot do.
func (t *translation) checkContext(at string, s *kubernetesSecurityContext) {
	if s == nil {
		return
	}
	refuse := func(field, why string) { t.refuse(at+"."+field, "%s", why) }
	switch s.Seccomp.Type {
	case "", "RuntimeDefault":
	case "Unconfined":
		refuse("seccompProfile.type", "containers have Docker's default system call filter; for no filter, set privileged")
	default:
		refuse("seccompProfile.type", "containers have Docker's default system call filter; use RuntimeDefault, or leave the field out")
	}
	if s.AppArmor.Type != "" && s.AppArmor.Type != "Unconfined" {
		refuse("appArmorProfile.type", "there is no AppArmor in a pod; leave the field out")
	}
	if a := s.AllowPrivilegeEscalation; a != nil && !*a {
		refuse("allowPrivilegeEscalation", "Husk cannot forbid programs that change their user, such as sudo, yet; leave the field out")
	}
	if s.ReadOnlyRootFilesystem {
		refuse("readOnlyRootFilesystem", "the file system of a container is always writable; leave the field out")
	}
	if len(s.Capabilities.Drop) > 0 {
		refuse("capabilities.drop", noCapabilities)
	}
	for _, capability := range s.Capabilities.Add {
		if !slices.Contains(defaultCapabilities, strings.TrimPrefix(capability, "CAP_")) && !s.Privileged {
			refuse("capabilities.add", noCapabilities)
			break
		}
	}
}

// effective returns the container's value of a field, or the pod's, and the field's path.
func effective[T any](pod, own *kubernetesSecurityContext, podAt, ownAt, field string, get func(*kubernetesSecurityContext) *T) (*T, string) {
	if own != nil {
		if v := get(own); v != nil {
			return v, ownAt + "." + field
		}
	}
	if pod != nil {
		return get(pod), podAt + "." + field
	}
	return nil, ""
}
