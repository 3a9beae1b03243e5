// SPDX-License-Identifier: Apache-2.0

package manifest

import "husk/openapi"

// names sets the names that the pod knows, and its kernel's parameters. The fields are those of Husk, except that there is no DNS of a cluster.
func (t *translation) names(out *openapi.PodSpec) {
	p := t.pod.Spec
	if p.Hostname != "" && p.Hostname != t.pod.Metadata.Name {
		out.Hostname = &p.Hostname
	}
	if len(p.HostAliases) > 0 {
		out.HostAliases = &p.HostAliases
	}
	switch p.DNSPolicy {
	case "", "ClusterFirst", "ClusterFirstWithHostNet", "Default":
	case "None":
		none := openapi.PodSpecDNSPolicyNone
		out.DNSPolicy = &none
	default:
		t.refuse("spec.dnsPolicy", "expected ClusterFirst, Default or None")
	}
	out.DNSConfig = p.DNSConfig
	if s := p.Security; s != nil && len(s.Sysctls) > 0 {
		out.Sysctls = &s.Sysctls
		t.origins["spec.sysctls"] = "spec.securityContext.sysctls"
	}
}
