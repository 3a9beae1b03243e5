// SPDX-License-Identifier: Apache-2.0

// Package signals knows the names of signals. It imports nothing of this module, because husk-init is linked with it.
package signals

import (
	"fmt"
	"strconv"
	"strings"
)

// numbers has the signals by name, as images write them in STOPSIGNAL. Numbers are Linux's on x86 and arm, because
// guests always run Linux.
var numbers = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18,
	"STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27,
	"WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31,
}

const (
	sigTerm  = 15
	sigRTMin = 34
	// Max is the highest signal.
	Max = 64
)

// Parse parses "", "15", "TERM", "SIGTERM" and "SIGRTMIN+3".
func Parse(s string) (int, error) {
	if s == "" {
		return sigTerm, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > Max {
			return 0, fmt.Errorf("signal %q: not between 1 and %d", s, Max)
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := numbers[name]; ok {
		return n, nil
	}
	if off, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return realtimeSignal(s, sigRTMin, off)
	}
	if off, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return realtimeSignal(s, Max, off)
	}
	return 0, fmt.Errorf("signal %q: unknown name", s)
}

func realtimeSignal(s string, base int, offset string) (int, error) {
	n := 0
	if offset != "" {
		var err error
		if n, err = strconv.Atoi(offset); err != nil || (offset[0] != '+' && offset[0] != '-') {
			return 0, fmt.Errorf("signal %q: unknown name", s)
		}
	}
	if base+n < sigRTMin || base+n > Max {
		return 0, fmt.Errorf("signal %q: not a real-time signal", s)
	}
	return base + n, nil
}
