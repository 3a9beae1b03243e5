// SPDX-License-Identifier: Apache-2.0

// Package manifest reads the documents of husk apply, in YAML or JSON: the bodies of API requests that create objects, and v1
// Pods of Kubernetes if Husk has a counterpart for each of their fields. It is strict: it reports a field that it does not know as a mistake, with
// its line.
//
// documents.go splits a file into documents, decode.go decodes each into small structs of this package, and kubernetes.go translates a
// Kubernetes Pod. informational.go and reasons.go have the fields of Kubernetes without a counterpart: those that Husk ignores, and those that
// it refuses. where.go finds the field of a document that an error of the API is about. diff.go compares a document with an existing object. Nothing here calls the API.
package manifest

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"husk/openapi"
)

// Document describes one object. Exactly one of Pod, Volume, Image, Config, Network, Service, Ingress, Address and Group is set.
type Document struct {
	Where    string // web.yaml:12
	Warnings []string
	Pod      *Pod
	Volume   *openapi.VolumeCreate
	Image    *openapi.ImageImport
	Config   *openapi.ConfigCreate // or a secret
	Network  *openapi.NetworkCreate
	Service  *openapi.ServiceCreate
	Ingress  *openapi.IngressCreate
	Address  *Address
	Group    *openapi.SecurityGroupCreate

	file string
	root *yaml.Node
	// origins maps fields of the API's request to fields of the document, where their paths differ.
	origins map[string]string
}

// Pod is a pod to create, with the names of its volumes.
type Pod struct {
	openapi.PodCreate
	// VolumeNames maps the name of a volume inside the pod to the name of the volume object. It has no volumes whose object has an ID in the spec.
	VolumeNames map[string]string
	// SnapshotNames does the same for snapshots.
	SnapshotNames map[string]string
	// RegistrySecrets are the secrets with logins for its images.
	RegistrySecrets []string `json:",omitempty"`
}

// APIVersion is the apiVersion of Husk's own documents.
const APIVersion = "husk/v1"

// Kind returns the kind of the object, as the command line names it.
func (d Document) Kind() string {
	switch {
	case d.Pod != nil:
		return "pod"
	case d.Volume != nil:
		return "volume"
	case d.Config != nil:
		return strings.ToLower(string(d.Config.Kind))
	case d.Network != nil:
		return "network"
	case d.Service != nil:
		return "service"
	case d.Ingress != nil:
		return "ingress"
	case d.Address != nil:
		return "address"
	case d.Group != nil:
		return "security-group"
	default:
		return "image"
	}
}

// Name returns the name of the object, or the reference of an image.
func (d Document) Name() string {
	switch {
	case d.Pod != nil:
		return d.Pod.Name
	case d.Volume != nil:
		return d.Volume.Name
	case d.Config != nil:
		return d.Config.Name
	case d.Network != nil:
		return d.Network.Name
	case d.Service != nil:
		return d.Service.Name
	case d.Ingress != nil:
		return d.Ingress.Name
	case d.Address != nil:
		return d.Address.Name
	case d.Group != nil:
		return d.Group.Name
	default:
		return d.Image.Reference
	}
}

// Ref names the object in messages, such as pod/web.
func (d Document) Ref() string { return d.Kind() + "/" + d.Name() }

// header is the beginning of every document.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// The documents of apiVersion husk/v1: the header and the body that creates the object.
type (
	podDocument struct {
		header

		Name        string               `json:"name"`
		Labels      *openapi.Labels      `json:"labels"`
		Annotations *openapi.Annotations `json:"annotations"`
		Spec        podSpec              `json:"spec"`
	}
	// podSpec is the API's, except that a volume may be given by its name instead of its ID, because the ID is often not known when a file
	// is written.
	podSpec struct {
		InitContainers                *[]openapi.Container             `json:"initContainers"`
		Containers                    []openapi.Container              `json:"containers"`
		ActiveDeadlineSeconds         *int                             `json:"activeDeadlineSeconds"`
		TTLSecondsAfterFinished       *int                             `json:"ttlSecondsAfterFinished"`
		Resources                     openapi.Resources                `json:"resources"`
		RestartPolicy                 *openapi.RestartPolicy           `json:"restartPolicy"`
		TerminationGracePeriodSeconds *int                             `json:"terminationGracePeriodSeconds"`
		FsGroup                       *int64                           `json:"fsGroup"`
		ShmSizeMiB                    *int                             `json:"shmSizeMiB"`
		EphemeralStorage              *openapi.PodSpecEphemeralStorage `json:"ephemeralStorage"`
		Hostname                      *string                          `json:"hostname"`
		HostAliases                   *[]openapi.HostAlias             `json:"hostAliases"`
		DNSPolicy                     *openapi.PodSpecDNSPolicy        `json:"dnsPolicy"`
		DNSConfig                     *openapi.DNSConfig               `json:"dnsConfig"`
		Sysctls                       *[]openapi.Sysctl                `json:"sysctls"`
		EphemeralStorageGiB           *int                             `json:"ephemeralStorageGiB"`
		Volumes                       []podVolume                      `json:"volumes"`
		RegistrySecrets               []string                         `json:"registrySecrets"`
		Networks                      *[]openapi.PodNetwork            `json:"networks"`
		Scheduling                    *openapi.Scheduling              `json:"scheduling"`
		SecurityGroups                *openapi.SecurityGroupNames      `json:"securityGroups"`
	}
	podVolume struct {
		openapi.PodVolume

		VolumeName   string `json:"volumeName"`
		SnapshotName string `json:"snapshotName"`
	}
	volumeDocument struct {
		header
		openapi.VolumeCreate
	}
	networkDocument struct {
		header
		openapi.NetworkCreate
	}
	serviceDocument struct {
		header
		openapi.ServiceCreate
	}
	ingressDocument struct {
		header
		openapi.IngressCreate
	}
	imageDocument struct {
		header
		openapi.ImageImport
	}
	configDocument struct {
		header

		Name         string                      `json:"name"`
		Labels       *openapi.Labels             `json:"labels"`
		Values       *openapi.ConfigValues       `json:"values"`
		BinaryValues *openapi.ConfigBinaryValues `json:"binaryValues"`
	}
)

// read reads one document. A List is as many documents as it has items.
func read(file string, node *yaml.Node) ([]Document, error) {
	doc := Document{Where: fmt.Sprintf("%s:%d", file, node.Line), file: file, root: node, origins: map[string]string{}}
	d := &decoder{file: file, root: node}
	var h header
	var more *Address // of the same document
	var peers []*openapi.SecurityGroupCreate
	d.loose(node, &h)
	if d.err() != nil {
		return nil, d.err()
	}
	switch {
	case h.APIVersion == "" || h.Kind == "":
		d.fail(node, "", "apiVersion or kind is missing; for a Pod, Volume, Image, Config, Secret, Network, Service, Ingress, Address or SecurityGroup, set apiVersion to %s; for an object of Kubernetes, set it to v1", APIVersion)
	case (h.APIVersion == "v1" || h.APIVersion == APIVersion) && h.Kind == "List":
		return list(d, node)
	case h.APIVersion == "v1" && h.Kind == "Pod":
		var p kubernetesPod
		d.unexpected = judgePodField
		added := withoutAddedVolumes(node)
		d.strict(node, &p)
		if d.err() == nil {
			doc.Pod = (&translation{decoder: d, pod: p, hidden: added, origins: doc.origins}).translate()
		}
	case h.APIVersion == "v1" && h.Kind == "PersistentVolumeClaim":
		var c kubernetesClaim
		d.unexpected = judgeClaimField
		d.strict(node, &c)
		doc.Volume = c.translate(d, doc.origins)
	case h.APIVersion == APIVersion && h.Kind == "Pod":
		var p podDocument
		d.unexpected = shown(openapi.Pod{})
		if fieldOf(node, "status") != nil && contains(node, "(hidden)") {
			d.refuse("spec", "this document was printed for a viewer, who does not see the values of variables and the contents of files; print it as a developer or an owner")
		}
		d.strict(node, &p)
		doc.Pod = p.pod(d, doc.origins)
	case h.APIVersion == APIVersion && h.Kind == "Volume":
		var v volumeDocument
		d.unexpected = shown(openapi.Volume{})
		d.strict(node, &v)
		d.checkName("name", v.Name)
		doc.Volume = &v.VolumeCreate
	case h.APIVersion == APIVersion && (h.Kind == "Config" || h.Kind == "Secret"):
		var c configDocument
		d.unexpected = shown(openapi.Config{})
		d.strict(node, &c)
		d.checkName("name", c.Name)
		if h.Kind == "Secret" && fieldOf(node, "keys") != nil && c.Values == nil && c.BinaryValues == nil {
			d.refuse("keys", "husk does not show the values of a secret, so that this document does not have them; add values, or use husk edit")
		}
		doc.Config = &openapi.ConfigCreate{Kind: openapi.ConfigKind(h.Kind), Name: c.Name, Labels: c.Labels, Values: c.Values, BinaryValues: c.BinaryValues}
	case h.APIVersion == "v1" && (h.Kind == "ConfigMap" || h.Kind == "Secret"):
		var c kubernetesConfig
		d.unexpected = judgeConfigField
		d.strict(node, &c)
		doc.Config = c.translate(d, doc.origins)
	case h.APIVersion == "v1" && h.Kind == "Service":
		var s kubernetesService
		d.unexpected = judgeServiceField
		d.strict(node, &s)
		doc.Service = s.translate(d, doc.origins)
		more = s.outside()
	case h.APIVersion == "networking.k8s.io/v1" && h.Kind == "NetworkPolicy":
		var p kubernetesPolicy
		d.unexpected = judgePolicyField
		d.strict(node, &p)
		peers, doc.Group = p.translate(d, doc.origins)
	case h.APIVersion == APIVersion && h.Kind == "SecurityGroup":
		var g groupDocument
		d.unexpected = shown(openapi.SecurityGroup{})
		d.strict(node, &g)
		d.checkName("name", g.Name)
		g.unnumber()
		doc.Group = &g.SecurityGroupCreate
	case h.APIVersion == APIVersion && h.Kind == "Network":
		var n networkDocument
		d.unexpected = shown(openapi.Network{})
		d.strict(node, &n)
		d.checkName("name", n.Name)
		doc.Network = &n.NetworkCreate
	case h.APIVersion == APIVersion && h.Kind == "Address":
		var a addressDocument
		d.unexpected = shown(openapi.Address{})
		d.strict(node, &a)
		doc.Address = a.address(d)
	case h.APIVersion == APIVersion && h.Kind == "Service":
		var s serviceDocument
		d.unexpected = shown(openapi.Service{})
		d.strict(node, &s)
		d.checkName("name", s.Name)
		if s.Selector == "" {
			d.fail(node, "selector", "no selector given; add one, such as app=web")
		}
		doc.Service = &s.ServiceCreate
	case h.APIVersion == ingressVersion && h.Kind == "Ingress":
		var i kubernetesIngress
		d.unexpected = judgeIngressField
		d.strict(node, &i)
		doc.Ingress = i.translate(d, doc.origins)
	case h.APIVersion == APIVersion && h.Kind == "Ingress":
		var i ingressDocument
		d.unexpected = shown(openapi.Ingress{})
		d.strict(node, &i)
		d.checkName("name", i.Name)
		if len(i.Rules) == 0 {
			d.fail(node, "rules", "no rules given; add one with a host and its paths")
		}
		doc.Ingress = &i.IngressCreate
	case h.APIVersion == APIVersion && h.Kind == "Image":
		var i imageDocument
		d.unexpected = shown(openapi.Image{})
		d.strict(node, &i)
		if i.Reference == "" {
			d.fail(node, "reference", "no reference given; add one, such as registry.example.com/nginx:1.22")
		}
		doc.Image = &i.ImageImport
	case h.APIVersion == APIVersion:
		d.refuse("kind", "%q is not Pod, Volume, Image, Config, Secret, Network, Service, Ingress, Address or SecurityGroup", h.Kind)
	default:
		d.refuse("kind", "%s", otherKind(h))
	}
	if d.err() != nil {
		return nil, d.err()
	}
	d.byLine(d.warnings)
	doc.Warnings = d.warnings
	if len(peers) > 0 {
		var all []Document
		for _, g := range peers {
			all = append(all, Document{Where: doc.Where, Group: g, file: file, root: node, origins: map[string]string{}})
		}
		return append(all, doc), nil
	}
	if more != nil {
		return []Document{doc, {Where: doc.Where, Address: more, file: file, root: node, origins: map[string]string{"name": "metadata.name"}}}, nil
	}
	return []Document{doc}, nil
}

// pod returns the body of the API request that creates the pod.
func (p podDocument) pod(d *decoder, origins map[string]string) *Pod {
	d.checkName("name", p.Name)
	spec := openapi.PodSpec{
		Containers: p.Spec.Containers, Resources: p.Spec.Resources, RestartPolicy: p.Spec.RestartPolicy,
		TerminationGracePeriodSeconds: p.Spec.TerminationGracePeriodSeconds, FsGroup: p.Spec.FsGroup, ShmSizeMiB: p.Spec.ShmSizeMiB,
		Scheduling: p.Spec.Scheduling, SecurityGroups: p.Spec.SecurityGroups,
		Hostname: p.Spec.Hostname, HostAliases: p.Spec.HostAliases, DNSPolicy: p.Spec.DNSPolicy, DNSConfig: p.Spec.DNSConfig, Sysctls: p.Spec.Sysctls,
		EphemeralStorage: p.Spec.EphemeralStorage, EphemeralStorageGiB: p.Spec.EphemeralStorageGiB, Networks: p.Spec.Networks,
		InitContainers: p.Spec.InitContainers, ActiveDeadlineSeconds: p.Spec.ActiveDeadlineSeconds, TTLSecondsAfterFinished: p.Spec.TTLSecondsAfterFinished,
	}
	out := Pod{
		VolumeNames: map[string]string{}, SnapshotNames: map[string]string{}, RegistrySecrets: p.Spec.RegistrySecrets,
		PodCreate: openapi.PodCreate{Name: p.Name, Labels: p.Labels, Annotations: p.Annotations, Spec: spec},
	}
	var volumes []openapi.PodVolume
	for i, v := range p.Spec.Volumes {
		given := 0
		for _, is := range []bool{
			v.VolumeID != nil, v.VolumeName != "", v.SnapshotID != nil, v.SnapshotName != "",
			v.Config != nil, v.Secret != nil, v.Projected != nil, v.EmptyDir != nil,
		} {
			if is {
				given++
			}
		}
		if given != 1 {
			d.refuse(fmt.Sprintf("spec.volumes[%d]", i), "give exactly one of volumeName, volumeId, snapshotName, snapshotId, config, secret, projected and emptyDir")
			continue
		}
		if v.VolumeName != "" {
			out.VolumeNames[v.Name] = v.VolumeName
			origins[fmt.Sprintf("spec.volumes[%d].volumeId", i)] = fmt.Sprintf("spec.volumes[%d].volumeName", i)
		}
		if v.SnapshotName != "" {
			out.SnapshotNames[v.Name] = v.SnapshotName
			origins[fmt.Sprintf("spec.volumes[%d].snapshotId", i)] = fmt.Sprintf("spec.volumes[%d].snapshotName", i)
		}
		volumes = append(volumes, v.PodVolume)
	}
	if volumes != nil {
		out.Spec.Volumes = &volumes
	}
	return &out
}

var nameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *decoder) checkName(path, name string) {
	switch {
	case name == "":
		d.refuse(path, "no name given; add one")
	case !nameForm.MatchString(name):
		d.refuse(path, "%q is not a name: use at most 63 lower-case letters, digits and dashes, and begin and end with a letter or a digit", name)
	}
}

// MistakeErrors are all mistakes in some documents, each with its line.
type MistakeErrors []string

// Error implements error.
func (p MistakeErrors) Error() string { return strings.Join(p, "; ") }

// Unwrap returns each mistake as an error of its own.
func (p MistakeErrors) Unwrap() []error {
	var errs []error
	for _, text := range p {
		errs = append(errs, problem(text))
	}
	return errs
}

type problem string

func (p problem) Error() string { return string(p) }
