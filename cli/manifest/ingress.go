// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"husk/openapi"
)

// ingressVersion is the API version of Ingresses of Kubernetes.
const ingressVersion = "networking.k8s.io/v1"

// kubernetesIngress is an Ingress of Kubernetes, which becomes an ingress.
type kubernetesIngress struct {
	header

	Metadata struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Rules []struct {
			Host string `json:"host"`
			HTTP struct {
				Paths []struct {
					Path    string `json:"path"`
					Type    string `json:"pathType"`
					Backend struct {
						Service struct {
							Name string `json:"name"`
							Port struct {
								Number int    `json:"number"`
								Name   string `json:"name"`
							} `json:"port"`
						} `json:"service"`
					} `json:"backend"`
				} `json:"paths"`
			} `json:"http"`
		} `json:"rules"`
	} `json:"spec"`
}

func (i kubernetesIngress) translate(d *decoder, origins map[string]string) *openapi.IngressCreate {
	if d.err() != nil {
		return nil
	}
	d.checkName("metadata.name", i.Metadata.Name)
	maps.Copy(origins, map[string]string{"name": "metadata.name", "labels": "metadata.labels", "rules": "spec.rules"})
	out := openapi.IngressCreate{Name: i.Metadata.Name, Rules: openapi.IngressRules{}}
	if len(i.Metadata.Labels) > 0 {
		labels := openapi.Labels(maps.Clone(i.Metadata.Labels))
		out.Labels = &labels
	}
	if len(i.Spec.Rules) == 0 {
		d.refuse("spec.rules", "an ingress without rules leads nowhere; add one with a host")
	}
	for n, r := range i.Spec.Rules {
		at := fmt.Sprintf("spec.rules[%d]", n)
		if r.Host == "" {
			d.refuse(at+".host", "each rule needs a host, because other tenants have hosts at the same addresses")
		}
		rule := openapi.IngressRule{Host: r.Host, Paths: []openapi.IngressPath{}}
		for m, p := range r.HTTP.Paths {
			at := fmt.Sprintf("%s.http.paths[%d]", at, m)
			switch p.Type {
			case "Prefix", "Exact":
			case "ImplementationSpecific", "":
				d.warn(at+".pathType", "the path applies to all below it, as with Prefix")
			default:
				d.refuse(at+".pathType", "%q is not Prefix, Exact or ImplementationSpecific", p.Type)
			}
			if p.Backend.Service.Port.Name != "" {
				d.refuse(at+".backend.service.port.name", "give the number of the port %q", p.Backend.Service.Port.Name)
			}
			path := openapi.IngressPath{Service: p.Backend.Service.Name, Port: p.Backend.Service.Port.Number}
			if p.Path != "" && p.Path != "/" {
				path.Path = &i.Spec.Rules[n].HTTP.Paths[m].Path
			}
			if p.Type == "Exact" {
				path.Exact = new(true)
			}
			rule.Paths = append(rule.Paths, path)
		}
		out.Rules = append(out.Rules, rule)
	}
	return &out
}

// ingressFields are the fields of an Ingress that Husk ignores, with a warning.
var ingressFields = map[string]string{
	"metadata.namespace":       "ignored: " + noNamespaces,
	"metadata.annotations":     "ignored: only pods have annotations",
	"metadata.finalizers":      "ignored: Husk has no finalizers",
	"metadata.ownerReferences": "ignored: an object of Husk has no owner",
	"spec.ingressClassName":    "ignored: the platform serves all ingresses",
	"spec.tls":                 "ignored: the platform gets the certificates of all hosts itself",
}

// ingressReasons say why Husk does not accept a field of an Ingress.
var ingressReasons = map[string]string{
	"spec.defaultBackend":                        "each service needs a host; add a rule",
	"spec.rules[].http.paths[].backend.resource": "requests go to services; name one",
}

func judgeIngressField(path string, value *yaml.Node) (refusal, warning string) {
	warning, known := ingressFields[path]
	switch {
	case isEmpty(value), slices.Contains(bookkeeping, path):
		return "", ""
	case known:
		return "", warning
	}
	return cmp.Or(ingressReasons[path], "Husk has no counterpart for this field; leave the field out"), ""
}

// CompleteRules returns rules with what applies if a document leaves it out.
func CompleteRules(rules openapi.IngressRules) openapi.IngressRules {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Paths = slices.Clone(rules[i].Paths)
		for n := range rules[i].Paths {
			if rules[i].Paths[n].Path == nil {
				rules[i].Paths[n].Path = new("/")
			}
			if !openapi.Value(rules[i].Paths[n].Exact) {
				rules[i].Paths[n].Exact = nil
			}
		}
	}
	return rules
}
