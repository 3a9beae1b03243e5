// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strings"

	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/openapi"
)

// Names are the flags of the networks and names that a pod knows, and of its kernel's parameters.
type Names struct {
	hostname                                  string
	hosts, servers, searches, options, sysctl []string
	networks                                  []string
}

// AddTo adds the flags.
func (n *Names) AddTo(fs *pflag.FlagSet) {
	fs.StringVarP(&n.hostname, "hostname", "h", "", "host name of the pod (default: its name)")
	fs.StringArrayVar(&n.networks, "network", nil, "connect the pod to this network, NAME[=ADDRESS]; may be repeated")
	fs.StringArrayVar(&n.hosts, "add-host", nil, "add a line to /etc/hosts, NAME:ADDRESS; may be repeated")
	fs.StringArrayVar(&n.servers, "dns", nil, "use this name server instead of the network's; may be repeated")
	fs.StringArrayVar(&n.searches, "dns-search", nil, "search names in this domain; may be repeated")
	fs.StringArrayVar(&n.options, "dns-option", nil, "set an option of the resolver, such as ndots:2; may be repeated")
	fs.StringArrayVar(&n.sysctl, "sysctl", nil, "set a kernel parameter of the network or of IPC, NAME=VALUE; may be repeated")
}

// Set sets the fields of a pod.
func (n *Names) Set(spec *openapi.PodSpec) error {
	spec.Hostname = given(n.hostname)
	var networks []openapi.PodNetwork
	for _, item := range n.networks {
		name, address, _ := strings.Cut(item, "=")
		networks = append(networks, openapi.PodNetwork{Network: name, Address: given(address)})
	}
	if networks != nil {
		spec.Networks = &networks
	}
	var aliases []openapi.HostAlias
	for _, item := range n.hosts {
		name, ip, ok := strings.Cut(item, ":") // an IPv6 address has colons too
		if before, after, equals := strings.Cut(item, "="); equals {
			name, ip, ok = before, after, true
		}
		ip = strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")
		if !ok || name == "" || ip == "" {
			return exit.Usagef("--add-host %q: give NAME:ADDRESS, such as db:192.0.2.10", item)
		}
		aliases = append(aliases, openapi.HostAlias{IP: ip, Hostnames: []string{name}})
	}
	if aliases != nil {
		spec.HostAliases = &aliases
	}
	if len(n.servers)+len(n.searches)+len(n.options) > 0 {
		spec.DNSConfig = &openapi.DNSConfig{Nameservers: listed(n.servers, strings.Clone), Searches: listed(n.searches, strings.Clone)}
		var options []openapi.DNSOption
		for _, item := range n.options {
			name, value, _ := strings.Cut(item, ":")
			options = append(options, openapi.DNSOption{Name: name, Value: given(value)})
		}
		if options != nil {
			spec.DNSConfig.Options = &options
		}
	}
	if len(n.servers) > 0 {
		none := openapi.PodSpecDNSPolicyNone
		spec.DNSPolicy = &none
	}
	var sysctls []openapi.Sysctl
	for _, item := range n.sysctl {
		name, value, ok := strings.Cut(item, "=")
		if !ok || name == "" {
			return exit.Usagef("--sysctl %q: give NAME=VALUE, such as net.core.somaxconn=4096", item)
		}
		sysctls = append(sysctls, openapi.Sysctl{Name: name, Value: value})
	}
	if sysctls != nil {
		spec.Sysctls = &sysctls
	}
	return nil
}
