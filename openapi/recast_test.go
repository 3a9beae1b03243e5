package openapi_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"husk"
	"husk/openapi"
)

// fill sets everything that reaches the wire to something that is not zero.
func fill(v reflect.Value, seed *int) {
	*seed++
	switch at := v.Addr().Interface().(type) {
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
		v.SetString("text-" + strings.Repeat("x", *seed%7))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*seed))
	default:
		panic("do not know how to fill " + v.Type().String())
	}
}

// through sends a filled From through the JSON of To and back. Neither side may have a field that the other does not know.
func through[From, To any](t *testing.T) {
	t.Helper()
	var from From
	seed := 0
	fill(reflect.ValueOf(&from).Elem(), &seed)
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	var strict To
	if err := d.Decode(&strict); err != nil {
		t.Errorf("%T to %T: %v", from, strict, err)
	}
	to, err := openapi.Recast[To](from)
	if err != nil {
		t.Fatal(err)
	}
	back, err := openapi.Recast[From](to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(from, back); diff != "" {
		t.Errorf("%T does not survive %T (-before +after):\n%s", from, to, diff)
	}
}

// both holds a type of the vocabulary and one of the wire together, whichever side a field is added on.
func both[Ours, Wire any](t *testing.T) {
	t.Helper()
	through[Ours, Wire](t)
	through[Wire, Ours](t)
}

func TestVocabularyAndContractDoNotDrift(t *testing.T) {
	t.Parallel()
	both[husk.Pod, openapi.Pod](t)
	both[husk.PodSpec, openapi.PodSpec](t)
	both[husk.ContainerStatus, openapi.ContainerStatus](t)
	both[husk.Volume, openapi.Volume](t)
	both[husk.Image, openapi.Image](t)
	both[husk.Tenant, openapi.Tenant](t)
	both[husk.Quota, openapi.Quota](t)
	both[husk.Node, openapi.Node](t)
	both[husk.Resources, openapi.Capacity](t)
	both[husk.Resources, openapi.Resources](t)
	// A credential is shown with its secret once, and with its last use later.
	through[openapi.APIKeyWithSecret, husk.APIKey](t)
	through[openapi.APIKey, husk.APIKey](t)
	both[husk.DesiredState, openapi.DesiredState](t)
	both[husk.PodReport, openapi.PodReport](t)
}

// The words of an enumeration are not part of a type, so they are compared one by one.
func TestTheWordsOfTheContractAreOurs(t *testing.T) {
	t.Parallel()
	spec, err := openapi.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	phases := slices.DeleteFunc(slices.Clone(husk.Phases), func(p husk.Phase) bool { return p == husk.PhaseGone }) // no pod is shown that is gone
	events := slices.DeleteFunc(slices.Clone(husk.PhaseEvents), func(e husk.PhaseEvent) bool {
		return e == husk.EventPlaced || e == husk.EventNodeLost || e == husk.EventDelete || e == husk.EventEvict || e == husk.EventRequeue // not an agent's to say
	})
	for at, want := range map[string][]string{
		"PodPhase":              texts(phases),
		"PodReport.event":       texts(events),
		"RestartPolicy":         texts([]husk.RestartPolicy{husk.RestartAlways, husk.RestartOnFailure, husk.RestartNever}),
		"ContainerStatus.state": {husk.ContainerWaiting, husk.ContainerRunning, husk.ContainerExited},
		"Volume.state":          texts([]husk.VolumeState{husk.VolumeCreating, husk.VolumeAvailable, husk.VolumeInUse, husk.VolumeDeleting}),
		"Image.state":           texts([]husk.ImageState{husk.ImageImporting, husk.ImageReady, husk.ImageFailed, husk.ImageDeleting}),
		"Node.state":            texts([]husk.NodeState{husk.NodeJoining, husk.NodeReady, husk.NodeLost}),
		"DesiredPod.state":      texts([]husk.DesiredPodState{husk.DesiredRunning, husk.DesiredFinished, husk.DesiredGone}),
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
			t.Errorf("%s (-vocabulary +contract):\n%s", at, diff)
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

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := openapi.Recast[openapi.Quota](map[string]string{"pods": "many"}); err == nil || !strings.Contains(err.Error(), "recast map[string]string to openapi.Quota") {
		t.Errorf("the error is %v", err)
	}
	if _, err := openapi.Recast[openapi.Quota](make(chan int)); err == nil {
		t.Error("a channel was recast")
	}
}
