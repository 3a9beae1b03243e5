// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"husk"
	"husk/guest"
)

// What the server accepts must fit into one frame of the guest's channel, with the names, mounts and network around it.
func TestAPodThatTheServerAcceptsFitsIntoTheGuestsFrame(t *testing.T) {
	t.Parallel()
	const around = 128 << 10 // 16 containers with 32 mounts each, whose paths the server has counted
	if husk.MaxFrameBytes != guest.MaxFrame {
		t.Errorf("the server delivers %d bytes, and a frame has %d", husk.MaxFrameBytes, guest.MaxFrame)
	}
	if husk.MaxGuestBytes+around > guest.MaxFrame {
		t.Errorf("the server accepts %d bytes, and a frame has %d", husk.MaxGuestBytes, guest.MaxFrame)
	}
}

func TestAMachineHasTheShareOfItsGuestThatItsPodIsChargedFor(t *testing.T) {
	t.Parallel()
	const overhead = 128
	for charged, want := range map[int]int{
		overhead + guest.ShareMiB: guest.ShareMiB,
		overhead:                  0, // placed by an earlier version
		overhead + 10:             10,
		overhead - 50:             0, // the operator has raised the overhead since
		overhead + 500:            guest.ShareMiB,
	} {
		if got := share(charged, overhead); got != want {
			t.Errorf("a pod that is charged for %d MiB has %d MiB more than it asks for; want %d", charged, got, want)
		}
	}
}
