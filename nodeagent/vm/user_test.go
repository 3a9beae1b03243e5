// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"testing"

	"github.com/google/uuid"
)

func TestRangesOfUsersAreChecked(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Users{
		"1900000000-1900065535": DefaultUsers, "5000-5000": {First: 5000, Count: 1},
		"": {}, "5000": {}, "0-10": {}, "20-10": {}, "-5": {}, "1-4294967296": {}, "a-b": {}, "1-2-3": {},
	} {
		if got, err := ParseUsers(text); got != want || (err != nil) != (want == Users{}) {
			t.Errorf("ParseUsers(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestNoTwoMachinesHaveOneUser(t *testing.T) {
	t.Parallel()
	users := newUserTable(Users{First: 100, Count: 5}, uuid.New())
	machines, reads := map[uint32]bool{103: true}, 0 // one runs already
	running := func() (map[uint32]bool, error) {
		reads++
		now := map[uint32]bool{}
		for id := range machines {
			now[id] = true
		}
		return now, nil
	}
	start := func() uint32 {
		t.Helper()
		id, err := users.take(running)
		if err != nil {
			t.Fatal(err)
		}
		if machines[id] || id < 100 || id > 104 {
			t.Errorf("a machine gets the user %d, and %v are taken", id, machines)
		}
		return id
	}
	starting := start() // not released before the others
	for range 3 {
		id := start()
		machines[id] = true
		users.release(id)
	}
	if reads != 1 {
		t.Errorf("the machines were read %d times for four starts", reads)
	}
	if id, err := users.take(running); err == nil {
		t.Errorf("a machine gets the user %d although all are taken", id)
	}
	machines[starting] = true
	users.release(starting)
	delete(machines, 103)
	if id := start(); id != 103 {
		t.Errorf("the user that is free again is 103, and the machine gets %d", id)
	}
}
