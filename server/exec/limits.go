// SPDX-License-Identifier: Apache-2.0

package exec

import "time"

// Limits of sessions. The agent and husk-init limit the sessions of one pod.
const (
	// sessionIdle is how long a session may pass without a byte in either direction.
	sessionIdle = time.Hour

	// lastFrame is how long the server tries to send the client the reason for the end of its session.
	lastFrame = 2 * time.Second
	// lastRead is how long a client may take to read the end and close. After that the server closes.
	lastRead = time.Minute
)
