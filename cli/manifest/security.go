// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strconv"
	"strings"

	"husk/openapi"
)

// noAppArmor says what protects instead of the default profile of a container runtime.
const noAppArmor = "there is no AppArmor in a pod; its containers have Docker's default capabilities, masked paths and system call filter"

// kubernetesSecurityContext is that of a pod or of a container. The container's fields have precedence.
type kubernetesSecurityContext struct {
	RunAsUser    *int64           `json:"runAsUser"`
	RunAsGroup   *int64           `json:"runAsGroup"`
	RunAsNonRoot *bool            `json:"runAsNonRoot"`
	Groups       []int64          `json:"supplementalGroups"` // of a pod
	FSGroup      *int64           `json:"fsGroup"`            // of a pod
	Sysctls      []openapi.Sysctl `json:"sysctls"`            // of a pod
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

// security translates the security context of a container, or refuses it: a protection that Husk does not have cannot be ignored.
func (t *translation) security(c *kubernetesContainer, at string, out *openapi.Container) {
	at += ".securityContext"
	const ofPod = "spec.securityContext"
	pod, own := t.pod.Spec.Security, c.Security
	t.checkContext(at, own)
	if own != nil {
		if own.FSGroup != nil {
			t.refuse(at+".fsGroup", "the group of the volumes belongs to the pod; set it in %s", ofPod)
		}
		t.privileges(own, at, out)
	}
	if pod != nil && len(pod.Groups) > 0 {
		var groups []string
		for _, id := range pod.Groups {
			groups = append(groups, strconv.FormatInt(id, 10))
		}
		out.Groups = &groups
		t.origins[strings.TrimSuffix(at, ".securityContext")+".groups"] = ofPod + ".supplementalGroups"
	}
	user, userFrom := effective(pod, own, ofPod, at, "runAsUser", func(s *kubernetesSecurityContext) *int64 { return s.RunAsUser })
	group, groupFrom := effective(pod, own, ofPod, at, "runAsGroup", func(s *kubernetesSecurityContext) *int64 { return s.RunAsGroup })
	nonRoot, nonRootFrom := effective(pod, own, ofPod, at, "runAsNonRoot", func(s *kubernetesSecurityContext) *bool { return s.RunAsNonRoot })
	switch {
	case nonRoot == nil || !*nonRoot:
	case user != nil && *user == 0:
		t.refuse(nonRootFrom, "runAsUser is 0, which is root; set it to another number")
	case user == nil:
		out.NonRoot = nonRoot
		t.origins[strings.TrimSuffix(at, ".securityContext")+".nonRoot"] = nonRootFrom
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
	switch s.AppArmor.Type {
	case "", "Unconfined":
	case "RuntimeDefault":
		t.warn(at+".appArmorProfile.type", noAppArmor)
	default:
		refuse("appArmorProfile.type", "there is no AppArmor in a pod; leave the field out")
	}
}

// privileges translates what the container is allowed to do.
func (t *translation) privileges(s *kubernetesSecurityContext, at string, out *openapi.Container) {
	ours := strings.TrimSuffix(at, ".securityContext")
	for said, to := range map[*bool]**bool{&s.Privileged: &out.Privileged, &s.ReadOnlyRootFilesystem: &out.ReadOnlyRoot} {
		if *said {
			*to = said
		}
	}
	if s.AllowPrivilegeEscalation != nil {
		forbidden := !*s.AllowPrivilegeEscalation
		out.NoNewPrivileges = &forbidden
	}
	for name, list := range map[string]struct {
		from []string
		to   **[]string
	}{"capabilities.add": {s.Capabilities.Add, &out.CapabilitiesAdd}, "capabilities.drop": {s.Capabilities.Drop, &out.CapabilitiesDrop}} {
		if len(list.from) == 0 {
			continue
		}
		names := make([]string, len(list.from))
		for i, c := range list.from {
			names[i] = strings.TrimPrefix(c, "CAP_")
		}
		*list.to = &names
		t.origins[ours+".capabilities"+strings.ToUpper(name[13:14])+name[14:]] = at + "." + name
	}
	t.origins[ours+".readOnlyRoot"], t.origins[ours+".noNewPrivileges"] = at+".readOnlyRootFilesystem", at+".allowPrivilegeEscalation"
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
