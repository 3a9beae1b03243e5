// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"runtime/debug"
)

// panicError is a panic in a pass, or in the work on one object.
type panicError struct {
	value any
	stack []byte
}

// Error implements error.
func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// safely calls f and returns a panic in it as an error. So an object with unexpected content ends neither this server nor the next leader.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return f()
}
