// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/cli/manifest/tree"
	"husk/openapi"
)

// kubernetesService is a Service of Kubernetes, which becomes a service.
type kubernetesService struct {
	header

	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Type      string            `json:"type"`
		Selector  map[string]string `json:"selector"`
		ClusterIP string            `json:"clusterIP"`
		Affinity  string            `json:"sessionAffinity"`
		Timeout   struct {
			ClientIP struct {
				Seconds int `json:"timeoutSeconds"`
			} `json:"clientIP"`
		} `json:"sessionAffinityConfig"`
		Ports []struct {
			Name       string   `json:"name"`
			Protocol   string   `json:"protocol"`
			Port       int      `json:"port"`
			TargetPort portText `json:"targetPort"`
		} `json:"ports"`
	} `json:"spec"`
}

// loadBalancer is the type of services that others outside reach.
const loadBalancer = "LoadBalancer"

// serviceTypes say what to use instead of a type of service that has no counterpart.
var serviceTypes = map[string]string{
	"NodePort":     "no port of a node is open to the outside; use LoadBalancer, which gets a floating address",
	"ExternalName": "a service has pods; let clients use the other name itself",
}

func (s kubernetesService) translate(d *decoder, origins map[string]string) *openapi.ServiceCreate {
	if d.err() != nil {
		return nil
	}
	d.checkName("metadata.name", s.Metadata.Name)
	maps.Copy(origins, map[string]string{
		"name": "metadata.name", "labels": "metadata.labels", "selector": "spec.selector", "ports": "spec.ports", "headless": "spec.clusterIP",
		"affinity": "spec.sessionAffinity", "affinityTimeoutSeconds": "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
	})
	if why, refused := serviceTypes[s.Spec.Type]; refused {
		d.refuse("spec.type", "%s is not possible: %s", s.Spec.Type, why)
	} else if s.Spec.Type != "" && s.Spec.Type != "ClusterIP" && s.Spec.Type != loadBalancer {
		d.refuse("spec.type", "%q is not ClusterIP or LoadBalancer", s.Spec.Type)
	}
	out := openapi.ServiceCreate{Name: s.Metadata.Name}
	if len(s.Metadata.Labels) > 0 {
		labels := openapi.Labels(maps.Clone(s.Metadata.Labels))
		out.Labels = &labels
	}
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(s.Spec.Selector)) {
		labels = append(labels, name+"="+s.Spec.Selector[name])
	}
	if out.Selector = strings.Join(labels, ","); out.Selector == "" {
		d.refuse("spec.selector", "a service without a selector has no pods; select pods by their labels")
	}
	switch s.Spec.ClusterIP {
	case "":
	case "None":
		if s.Spec.Type == loadBalancer {
			d.refuse("spec.clusterIP", "a headless service has no ports, so others outside cannot reach it; leave the field out")
		}
		out.Headless = new(true)
	default:
		d.warn("spec.clusterIP", "ignored: Husk chooses the address")
	}
	switch s.Spec.Affinity {
	case "", "None":
	case "ClientIP":
		affinity := openapi.ServiceAffinityClient
		out.Affinity = &affinity
		if n := s.Spec.Timeout.ClientIP.Seconds; n != 0 {
			out.AffinityTimeoutSeconds = &n
		}
	default:
		d.refuse("spec.sessionAffinity", "%q is not None or ClientIP", s.Spec.Affinity)
	}
	ports := openapi.ServicePorts{}
	for i, p := range s.Spec.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		port := openapi.ServicePort{Port: p.Port}
		if p.Name != "" {
			port.Name = &s.Spec.Ports[i].Name
		}
		switch protocol := openapi.ServicePortProtocol(p.Protocol); protocol {
		case "":
		case openapi.ServicePortProtocolTCP, openapi.ServicePortProtocolUDP:
			port.Protocol = &protocol
		default:
			d.refuse(at+".protocol", "%q is not TCP or UDP", p.Protocol)
		}
		if p.TargetPort != "" {
			n, err := strconv.Atoi(string(p.TargetPort))
			if err != nil {
				d.refuse(at+".targetPort", "ports of containers have no names; give the number of the port %q", string(p.TargetPort))
			}
			port.TargetPort = &n
		}
		ports = append(ports, port)
	}
	if len(ports) > 0 {
		out.Ports = &ports
	}
	return &out
}

// serviceFields are the fields of a Service that Husk ignores, with a warning. Without one, they say what Husk does anyway.
var serviceFields = map[string]string{
	"metadata.namespace":                 "ignored: " + noNamespaces,
	"metadata.annotations":               "ignored: only pods have annotations",
	"metadata.finalizers":                "ignored: Husk has no finalizers",
	"metadata.ownerReferences":           "ignored: an object of Husk has no owner",
	"spec.clusterIPs":                    "", // see clusterIP
	"spec.ipFamilies":                    "ignored: services have IPv4 addresses",
	"spec.ipFamilyPolicy":                "ignored: services have IPv4 addresses",
	"spec.ports[].appProtocol":           "ignored: a service passes connections on as they are",
	"spec.trafficDistribution":           "ignored: connections are distributed evenly",
	"spec.externalTrafficPolicy":         "ignored: pods always see the address of the client",
	"spec.allocateLoadBalancerNodePorts": "ignored: no port of a node is open to the outside",
	"spec.loadBalancerIP":                "ignored: Husk chooses the address",
}

// serviceReasons say why Husk does not accept a field of a Service.
var serviceReasons = map[string]string{
	"spec.ports[].nodePort":         "no port of a node is open to the outside; leave the field out",
	"spec.publishNotReadyAddresses": "only ready pods get connections; leave the field out",
	"spec.externalIPs":              "Husk chooses the addresses; use the type LoadBalancer, and leave the field out",
	"spec.externalName":             serviceTypes["ExternalName"],
	"spec.loadBalancerClass":        "there is one kind of load balancer; leave the field out",
	"spec.loadBalancerSourceRanges": "everybody outside reaches the address; leave the field out",
	"spec.internalTrafficPolicy":    "connections go to pods on all nodes; leave the field out",
}

func judgeServiceField(path string, value *yaml.Node) (refusal, warning string) {
	warning, known := serviceFields[path]
	switch {
	case isEmpty(value), value.Value == "false" && path == "spec.publishNotReadyAddresses", value.Value == "Cluster" && path == "spec.internalTrafficPolicy",
		value.Value == "SingleStack" && path == "spec.ipFamilyPolicy", slices.Contains(bookkeeping, path):
		return "", ""
	case known:
		return "", warning
	}
	return cmp.Or(serviceReasons[path], "Husk has no counterpart for this field; leave the field out"), ""
}

// CompleteService returns a service to create with the API's defaults.
func CompleteService(s openapi.ServiceCreate) openapi.ServiceCreate {
	ports := slices.Clone(openapi.Value(s.Ports))
	if ports == nil {
		ports = openapi.ServicePorts{}
	}
	for i := range ports {
		if ports[i].Protocol == nil {
			tcp := openapi.ServicePortProtocolTCP
			ports[i].Protocol = &tcp
		}
		if ports[i].TargetPort == nil {
			ports[i].TargetPort = &ports[i].Port
		}
	}
	s.Ports = &ports
	if s.Affinity == nil {
		none := openapi.ServiceAffinityNone
		s.Affinity = &none
	}
	if *s.Affinity == openapi.ServiceAffinityClient && s.AffinityTimeoutSeconds == nil {
		s.AffinityTimeoutSeconds = new(defaultAffinitySeconds)
	}
	return s
}

// DiffService returns the paths of the fields in which a document and an existing service differ, except name and labels.
func DiffService(want openapi.ServiceCreate, have openapi.Service) []string {
	headless := openapi.Value(want.Headless)
	want = CompleteService(want)
	want.Labels, want.Headless = nil, &headless
	got := openapi.ServiceCreate{
		Name: have.Name, Selector: have.Selector, Ports: &have.Ports, Affinity: &have.Affinity, AffinityTimeoutSeconds: have.AffinityTimeoutSeconds, Headless: &have.Headless,
		SecurityGroups: have.SecurityGroups,
	}
	return tree.Diff(tree.Of(want), tree.Of(CompleteService(got)))
}

// Address is a floating address to create, with the name of its target.
type Address struct {
	openapi.AddressCreate

	Service string `json:"service,omitempty"`
	Pod     string `json:"pod,omitempty"`
}

// addressDocument is a floating address. The target is given by its name.
type addressDocument struct {
	header

	Name             string          `json:"name"`
	Labels           *openapi.Labels `json:"labels"`
	DeleteWithTarget *bool           `json:"deleteWithTarget"`
	Target           struct {
		Service   string                `json:"service"`
		ServiceID string                `json:"serviceId"` // as the API shows it
		Pod       string                `json:"pod"`
		PodID     string                `json:"podId"` // as the API shows it
		Ports     *openapi.AddressPorts `json:"ports"`
	} `json:"target"`
}

func (a addressDocument) address(d *decoder) *Address {
	d.checkName("name", a.Name)
	a.Target.Service, a.Target.Pod = cmp.Or(a.Target.Service, a.Target.ServiceID), cmp.Or(a.Target.Pod, a.Target.PodID)
	switch t := a.Target; {
	case t.Service != "" && t.Pod != "":
		d.refuse("target", "an address leads to one service or to one pod; give either service or pod")
	case t.Ports != nil && t.Pod == "":
		d.refuse("target.ports", "only a pod has ports that can be chosen; those of a service are reached as they are")
	}
	out := Address{AddressCreate: openapi.AddressCreate{Name: a.Name, Labels: a.Labels, DeleteWithTarget: a.DeleteWithTarget}, Service: a.Target.Service, Pod: a.Target.Pod}
	if a.Target.Ports != nil {
		out.Target = &openapi.AddressTarget{Ports: a.Target.Ports}
	}
	return &out
}

// outside returns the floating address of a service of the type LoadBalancer, and nil for others.
func (s kubernetesService) outside() *Address {
	if s.Spec.Type != loadBalancer {
		return nil
	}
	return &Address{AddressCreate: openapi.AddressCreate{Name: s.Metadata.Name, DeleteWithTarget: new(true)}, Service: s.Metadata.Name}
}

// DiffAddress returns the paths of the fields in which a document with the IDs of its target and an existing address differ, except name and labels.
func DiffAddress(want Address, have openapi.Address) []string {
	got := openapi.AddressCreate{Name: have.Name, Target: have.Target, DeleteWithTarget: &have.DeleteWithTarget}
	want.Labels = nil
	return tree.Diff(tree.Of(CompleteAddress(want.AddressCreate)), tree.Of(CompleteAddress(got)))
}

// CompleteAddress returns the body that creates a floating address, with the defaults of the API.
func CompleteAddress(a openapi.AddressCreate) openapi.AddressCreate {
	if a.Target == nil {
		return a
	}
	t := *a.Target
	ports := slices.Clone(openapi.Value(t.Ports))
	for i := range ports {
		if ports[i].Protocol == nil {
			tcp := openapi.AddressPortProtocolTCP
			ports[i].Protocol = &tcp
		}
		if ports[i].TargetPort == nil {
			ports[i].TargetPort = &ports[i].Port
		}
	}
	t.Ports, a.Target = &ports, &t
	return a
}

// DiffNetwork returns the paths of the fields in which a document and an existing network differ, except name and labels. A range that the document
// does not name is that of the network.
func DiffNetwork(want openapi.NetworkCreate, have openapi.Network) []string {
	got := openapi.NetworkCreate{Name: have.Name, Cidr: &have.Cidr, Ipv6Cidr: have.Ipv6Cidr, Isolated: &have.Isolated}
	want.Labels = nil
	if want.Cidr == nil {
		want.Cidr = &have.Cidr
	}
	if want.Isolated == nil {
		want.Isolated = new(false)
	}
	return tree.Diff(tree.Of(want), tree.Of(got))
}
