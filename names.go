// SPDX-License-Identifier: Apache-2.0

package husk

import "reflect"

// HostSettings are the names that a pod knows, and the settings of its kernel. They reach the node as they are.
type HostSettings struct {
	Hostname    string      `json:"hostname,omitempty"` // empty: the pod's name
	HostAliases []HostAlias `json:"hostAliases,omitempty"`
	DNSPolicy   string      `json:"dnsPolicy,omitempty"` // DNSNone, or empty for the node's name servers and those of DNSConfig
	DNSConfig   *DNSConfig  `json:"dnsConfig,omitempty"`
	Sysctls     []Sysctl    `json:"sysctls,omitempty"`
}

// DNSNone is the policy of pods that use only the name servers of their DNSConfig.
const DNSNone = "None"

// HostAlias gives an address names in /etc/hosts.
type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
}

// DNSConfig is what /etc/resolv.conf says.
type DNSConfig struct {
	Nameservers []string    `json:"nameservers,omitempty"`
	Searches    []string    `json:"searches,omitempty"`
	Options     []DNSOption `json:"options,omitempty"`
}

// DNSOption is an option of /etc/resolv.conf, such as ndots with the value 2.
type DNSOption struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Sysctl is a parameter of the pod's kernel.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// HostnameOr returns the host name of a pod with this name.
func (h HostSettings) HostnameOr(name string) string {
	if h.Hostname != "" {
		return h.Hostname
	}
	return name
}

func (h HostSettings) unset() bool { return reflect.DeepEqual(h, HostSettings{}) }
