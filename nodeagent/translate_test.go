// SPDX-License-Identifier: Apache-2.0

package nodeagent

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
