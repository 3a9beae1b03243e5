// SPDX-License-Identifier: Apache-2.0

package openapi_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/ingress"
	"husk/openapi"
	"husk/service"
	"husk/service/address"
	"husk/service/securitygroup"
)

// fill sets every JSON field to a non-zero value.
func fill(v reflect.Value, seed *int) {
	*seed++
	switch at := v.Addr().Interface().(type) {
	case *netip.Addr:
		*at = netip.AddrFrom4([4]byte{192, 0, 2, byte(*seed)})
		return
	case *netip.Prefix:
		*at = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(*seed)}), 24)
		return
	case *time.Time:
		*at = time.Date(2024, 2, 3, 4, 5, 6, *seed*1000, time.UTC)
		return
	case *uuid.UUID:
		*at = uuid.NewSHA1(uuid.Nil, []byte{byte(*seed)})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i), seed)
			}
			if field := reflect.Indirect(v.Field(i)); strings.HasSuffix(strings.ToLower(v.Type().Field(i).Name), "cidr") && field.Kind() == reflect.String {
				field.SetString(field.String() + "/24")
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seed)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), seed)
		fill(v.Index(1), seed)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, seed)
		fill(value, seed)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("192.0.2.%d", *seed%250)) // a string, because the field may be an address
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*seed))
	case reflect.Uint32:
		v.SetUint(uint64(*seed))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(*seed) + 0.5)
	default:
		panic("do not know how to fill " + v.Type().String())
	}
}

// pair is a domain type and the wire type with the same JSON form.
type pair struct{ ours, wire reflect.Type }

func both[Ours, Wire any]() pair { return pair{reflect.TypeFor[Ours](), reflect.TypeFor[Wire]()} }

// roots are the pairs of bodies that the API sends or receives. Reflection finds the pairs of their
// fields, and a test below reports a pair that is missing here.
var roots = []pair{
	both[husk.Pod, openapi.Pod](), both[husk.Volume, openapi.Volume](), both[husk.Snapshot, openapi.Snapshot](), both[husk.VolumeClass, openapi.VolumeClass](), both[husk.Config, openapi.Config](), both[husk.Network, openapi.Network](), both[service.Service, openapi.Service](), both[address.Address, openapi.Address](), both[ingress.Ingress, openapi.Ingress](), both[ingress.Request, openapi.IngressRequest](), both[securitygroup.Group, openapi.SecurityGroup](), both[securitygroup.Traffic, openapi.SecurityTraffic](), both[husk.SampleReport, openapi.SampleReport](), both[husk.Image, openapi.Image](), both[husk.Tenant, openapi.Tenant](),
	both[husk.QuotaUse, openapi.QuotaUse](), both[husk.Node, openapi.Node](), both[husk.Pool, openapi.Pool](), both[husk.UnknownObject, openapi.UnknownObject](), both[husk.PlacedPod, openapi.PlacedPod](),
	both[husk.Placement, openapi.Placement](), both[husk.Defragmentation, openapi.Defragmentation](), both[husk.Usage, openapi.Usage](),
	both[husk.Event, openapi.Event](), both[husk.AuditEntry, openapi.AuditEntry](), both[husk.ServiceAccount, openapi.ServiceAccount](),
	both[husk.User, openapi.User](), both[husk.OIDCIssuer, openapi.OIDCIssuer](), both[husk.NodeCertificate, openapi.NodeCertificate](),
	both[husk.DesiredState, openapi.DesiredState](), both[husk.PodReport, openapi.PodReport](), both[husk.PodSample, openapi.PodSample](),
	both[husk.MachineRun, openapi.MachineRun](), both[husk.Resources, openapi.Capacity](), both[husk.Resources, openapi.Resources](),
	both[service.Update, openapi.NamesUpdate](), both[husk.Drain, openapi.Drain](), both[husk.Move, openapi.Move](),
}

// oneWay are pairs in which the domain type has fields that the wire type does not have. A response
// shows an API key either with its secret, when it is created, or with its last use.
var oneWay = []pair{both[husk.APIKey, openapi.APIKey](), both[husk.APIKey, openapi.APIKeyWithSecret]()}

// through converts a filled value of one type to the other type through JSON, and back. The test
// fails if the other type lacks a field.
func through(t *testing.T, from, to reflect.Type) {
	t.Helper()
	value := reflect.New(from)
	seed := 0
	fill(value.Elem(), &seed)
	raw, err := json.Marshal(value.Interface())
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	there := reflect.New(to)
	if err := d.Decode(there.Interface()); err != nil {
		t.Errorf("%s to %s: %v", from, to, err)
		return
	}
	if raw, err = json.Marshal(there.Interface()); err != nil {
		t.Fatal(err)
	}
	back := reflect.New(from)
	if err := json.Unmarshal(raw, back.Interface()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(value.Interface(), back.Interface(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("%s changes when converted to %s and back (-before +after):\n%s", from, to, diff)
	}
}

func TestDomainTypesMatchTheContract(t *testing.T) {
	t.Parallel()
	for _, p := range roots {
		through(t, p.ours, p.wire)
		through(t, p.wire, p.ours)
	}
	for _, p := range oneWay {
		through(t, p.wire, p.ours)
	}
}

// parts collects a pair and the pairs of its fields with the same JSON name.
func parts(ours, wire reflect.Type, into map[string]bool) {
	for ours.Kind() == reflect.Pointer || ours.Kind() == reflect.Slice {
		ours = ours.Elem()
	}
	for wire.Kind() == reflect.Pointer || wire.Kind() == reflect.Slice {
		wire = wire.Elem()
	}
	if ours.Kind() != reflect.Struct || wire.Kind() != reflect.Struct || !strings.HasPrefix(ours.PkgPath(), "husk") || into[ours.Name()+" "+wire.Name()] {
		return
	}
	into[ours.Name()+" "+wire.Name()] = true
	of := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(wire) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		of[name] = f.Type
	}
	for _, f := range reflect.VisibleFields(ours) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if other, ok := of[name]; ok && name != "" {
			parts(f.Type, other, into)
		}
	}
}

// structs returns the names of the struct types that some files declare.
func structs(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if _, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
					names[spec.Name.Name] = true
				}
			}
			return true
		})
	}
	return names
}

// If a domain type and a type of the contract have the same name, they are a pair, and the test
// above must check it.
func TestNoPairIsMissing(t *testing.T) {
	t.Parallel()
	held := map[string]bool{}
	for _, p := range slices.Concat(roots, oneWay) {
		parts(p.ours, p.wire, held)
	}
	wire, found := structs(t, "types.gen.go"), 0
	for name := range structs(t, "../*.go") {
		if !wire[name] {
			continue
		}
		found++
		if !held[name+" "+name] {
			t.Errorf("husk.%s and openapi.%s have the same name, but no pair in roots leads to them", name, name)
		}
	}
	if found < 40 {
		t.Errorf("only %d pairs were found", found)
	}
}

// The values of an enumeration are not part of its type, so they are compared one by one.
func TestEnumerationsMatchTheContract(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	phases := slices.DeleteFunc(slices.Clone(husk.Phases), func(p husk.Phase) bool { return p == husk.PhaseGone }) // the API never shows a pod that is gone
	events := slices.DeleteFunc(slices.Clone(husk.PhaseEvents), func(e husk.PhaseEvent) bool {
		return e == husk.EventPlaced || e == husk.EventDelete || e == husk.EventEvict || e == husk.EventRequeue ||
			e == husk.EventHalt || e == husk.EventFenced || e == husk.EventStop || e == husk.EventStart // an agent cannot report these
	})
	for at, want := range map[string][]string{
		"PodPhase":               texts(phases),
		"PodReport.event":        texts(events),
		"RestartPolicy":          texts([]husk.RestartPolicy{husk.RestartAlways, husk.RestartOnFailure, husk.RestartNever}),
		"ContainerStatus.state":  {husk.ContainerWaiting, husk.ContainerRunning, husk.ContainerExited},
		"ConfigKind":             texts([]husk.ConfigKind{husk.ConfigPlain, husk.ConfigSecret}),
		"Volume.state":           texts([]husk.VolumeState{husk.VolumeCreating, husk.VolumeAvailable, husk.VolumeInUse, husk.VolumeDeleting}),
		"ZonePort.protocol":      texts([]service.Protocol{service.TCP, service.UDP}),
		"AddressPort.protocol":   texts([]service.Protocol{service.TCP, service.UDP}),
		"SecurityRule.direction": texts([]securitygroup.Direction{securitygroup.Ingress, securitygroup.Egress}),
		"SecurityRule.protocol":  texts([]securitygroup.Protocol{securitygroup.TCP, securitygroup.UDP, securitygroup.ICMP, securitygroup.Any}),
		"ServicePort.protocol":   texts([]service.Protocol{service.TCP, service.UDP}),
		"ServiceAffinity":        texts([]service.Affinity{service.AffinityNone, service.AffinityClient}),
		"Snapshot.state":         texts([]husk.SnapshotState{husk.SnapshotCreating, husk.SnapshotReady, husk.SnapshotFailed, husk.SnapshotDeleting}),
		"Image.state":            texts([]husk.ImageState{husk.ImageImporting, husk.ImageReady, husk.ImageFailed, husk.ImageDeleting}),
		"NodeState":              texts(husk.NodeStates),
		"DesiredPod.state":       texts([]husk.DesiredPodState{husk.DesiredRunning, husk.DesiredIncoming, husk.DesiredFinished, husk.DesiredGone}),
	} {
		name, property, _ := strings.Cut(at, ".")
		schema := spec.Components.Schemas[name]
		if property != "" && schema != nil {
			schema = schema.Value.Properties[property]
		}
		if schema == nil {
			t.Errorf("the contract has no %s", at)
			continue
		}
		got := []string{}
		for _, v := range schema.Value.Enum {
			got = append(got, v.(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-domain +contract):\n%s", at, diff)
		}
	}
}

func texts[T ~string](words []T) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

func TestValuesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := openapi.Recast[openapi.Quota](map[string]string{"pods": "many"}); err == nil || !strings.Contains(err.Error(), "recast map[string]string to openapi.Quota") {
		t.Errorf("the error is %v", err)
	}
	if _, err := openapi.Recast[openapi.Quota](make(chan int)); err == nil {
		t.Error("a channel was recast")
	}
}
