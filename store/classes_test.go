// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"husk"
	"husk/store"
)

func putClass(t *testing.T, h fixture, name string, iops int, standard bool) husk.VolumeClass {
	t.Helper()
	c, err := h.Copies().PutClass(t.Context(), husk.VolumeClass{Name: name, DiskLimits: husk.DiskLimits{IOPS: iops, MiBPerSecond: 10}, Default: standard})
	must(t, c, err)
	return c
}

func TestVolumesHaveClasses(t *testing.T) {
	t.Parallel()
	h := open(t)
	tenant, node := h.tenant(), h.node(1)
	as, plain := h.as(tenant.ID), h.volume(tenant)
	putClass(t, h, "slow", 100, true)
	fast := putClass(t, h, "fast", 1000, false)
	if *fast.Volumes != 0 || fast.Default {
		t.Errorf("a new class is %+v", fast)
	}
	standard := h.volume(tenant)
	if plain.Class != "" || standard.Class != "slow" {
		t.Errorf("the volume from before the classes has the class %q and a new one %q", plain.Class, standard.Class)
	}
	chosen, err := as.AddVolume(t.Context(), once(), husk.Volume{Name: "chosen", Labels: map[string]string{}, SizeGiB: 1, Class: "fast"})
	if must(t, chosen, err); chosen.Class != "fast" {
		t.Errorf("the volume with a class has %q", chosen.Class)
	}
	_, err = as.AddVolume(t.Context(), once(), husk.Volume{Name: "none", Labels: map[string]string{}, SizeGiB: 1, Class: "none"})
	wantCode(t, err, husk.CodeNotFound)
	none := "none"
	_, err = as.UpdateVolume(t.Context(), standard.ID, nil, nil, &none)
	wantCode(t, err, husk.CodeNotFound)

	pod := h.createPod(tenant, specOf(h.image(tenant), standard))
	h.place(node.ID, pod)
	limits := func() *husk.DiskLimits {
		t.Helper()
		state, err := h.Desired(t.Context(), node.ID, nil)
		must(t, state, err)
		return state.Changes[0].Pod.Volumes[standard.ID].Limits
	}
	revision := func() int64 { return queryOne[int64](h, store.RoleControl, "SELECT desired_revision FROM nodes") }
	told := func(what string, want husk.DiskLimits, change func()) {
		t.Helper()
		before := revision()
		change()
		if revision() == before {
			t.Errorf("%s: the node is not told", what)
		}
		if diff := cmp.Diff(&want, limits()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	class := "fast"
	for range 2 { // repeated
		if _, err := as.UpdateVolume(t.Context(), plain.ID, nil, nil, &class); err != nil {
			t.Fatal(err)
		}
	}
	told("another class", husk.DiskLimits{IOPS: 1000, MiBPerSecond: 10}, func() {
		changed, err := as.UpdateVolume(t.Context(), standard.ID, nil, nil, &class)
		if must(t, changed, err); changed.Class != "fast" {
			t.Errorf("the changed volume has %q", changed.Class)
		}
	})
	told("other limits", husk.DiskLimits{IOPS: 2000, MiBPerSecond: 10}, func() {
		if c := putClass(t, h, "fast", 2000, true); *c.Volumes != 3 || !c.Default {
			t.Errorf("the changed class is %+v", c)
		}
	})
	before := revision()
	putClass(t, h, "fast", 2000, true)
	putClass(t, h, "slow", 1, false)
	if revision() != before {
		t.Error("the node is told of limits that are not its pods'")
	}

	wantCode(t, h.Copies().DeleteClass(t.Context(), "fast"), husk.CodeConflict)
	if err := h.Copies().DeleteClass(t.Context(), "slow"); err != nil {
		t.Error(err)
	}
	wantCode(t, h.Copies().DeleteClass(t.Context(), "slow"), husk.CodeNotFound)
	all, err := as.VolumeClasses(t.Context())
	if must(t, all, err); len(all) != 1 || all[0].Name != "fast" || all[0].Volumes != nil {
		t.Errorf("a tenant sees the classes %+v", all)
	}
	// Each class has usage intervals of its own.
	got := queryOne[[]string](h, store.RoleControl, `SELECT array_agg(COALESCE(i.volume_class, '') ORDER BY i.id) FROM usage_intervals i WHERE i.object_id = '`+standard.ID.String()+`'`)
	if want := []string{"slow", "fast"}; !slices.Equal(got, want) {
		t.Errorf("the usage intervals have the classes %q, want %q", got, want)
	}
}

// The limit of a class counts the volumes that have the class, whichever way they got it.
func TestAQuotaLimitsTheVolumesOfAClass(t *testing.T) {
	t.Parallel()
	h := open(t)
	for name, isDefault := range map[string]bool{"fast": true, "slow": false} {
		k, err := h.Copies().PutClass(t.Context(), husk.VolumeClass{Name: name, Default: isDefault})
		must(t, k, err)
	}
	quota := husk.DefaultQuota
	quota.VolumeClassGiB = map[string]int{"fast": 5}
	tenant := h.tenantWith(quota)
	as := h.as(tenant.ID)
	add := func(class string, gib int) (husk.Volume, error) {
		return as.AddVolume(t.Context(), once(), husk.Volume{Name: named("volume"), Labels: map[string]string{}, SizeGiB: gib, Class: class})
	}
	first, err := add("", 3) // of the default class
	must(t, first, err)
	if _, err := add("fast", 3); husk.CodeOf(err) != husk.CodeQuotaExceeded || !strings.Contains(err.Error(), "5 GiB of volumes of the class fast; 3 are in use and 3 more") {
		t.Errorf("a volume above the limit: %v", err)
	}
	slow, err := add("slow", 3)
	must(t, slow, err)
	for _, v := range []husk.Volume{first, slow} {
		if err := h.VolumeMade(t.Context(), v, "rbd", nil); err != nil {
			t.Fatal(err)
		}
	}
	fast := "fast"
	if _, err := as.UpdateVolume(t.Context(), slow.ID, nil, nil, &fast); husk.CodeOf(err) != husk.CodeQuotaExceeded {
		t.Errorf("a change to the class above its limit: %v", err)
	}
	if _, err := as.GrowVolume(t.Context(), first.ID, 6); husk.CodeOf(err) != husk.CodeQuotaExceeded {
		t.Errorf("a growth above the limit of the class: %v", err)
	}
	other := "slow" // which has no limit, so that the same request can also grow the volume
	if v, err := as.UpdateVolume(t.Context(), first.ID, new(6), nil, &other); err != nil || v.SizeGiB != 6 {
		t.Errorf("a change to a class without a limit: %+v, %v", v, err)
	}
	use, err := as.Quota(t.Context())
	if diff := cmp.Diff(map[string]int64{"slow": 9}, must(t, use, err).Used.VolumeClassGiB); diff != "" || use.Limits.VolumeClassGiB["fast"] != 5 {
		t.Errorf("the quota is %+v (-want +got):\n%s", use, diff)
	}
	changed, err := h.SetQuota(t.Context(), tenant.ID, func(q husk.Quota) husk.Quota { q.VolumeClassGiB = nil; return q })
	must(t, changed, err)
	if _, err := add("fast", 50); err != nil {
		t.Errorf("without the limit: %v", err)
	}
}
