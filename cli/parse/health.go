// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"time"

	"github.com/spf13/pflag"

	"husk/cli/exit"
	"husk/openapi"
)

// Health holds the flags that describe a health check, which becomes a liveness probe. As in Docker, it is a command for a shell.
type Health struct {
	command                        string
	interval, timeout, startPeriod time.Duration
	retries                        int
}

// AddTo adds the flags.
func (f *Health) AddTo(fs *pflag.FlagSet) {
	fs.StringVar(&f.command, "health-cmd", "", "restart the container according to --restart when this command of its shell fails")
	fs.DurationVar(&f.interval, "health-interval", 0, "time between two runs of --health-cmd (default: 10s)")
	fs.DurationVar(&f.timeout, "health-timeout", 0, "time that --health-cmd has to end (default: 1s)")
	fs.DurationVar(&f.startPeriod, "health-start-period", 0, "time before the first run of --health-cmd")
	fs.IntVar(&f.retries, "health-retries", 0, "failures of --health-cmd in a row that end the container (default: 3)")
}

// Probe returns the liveness probe, or nil if there is none.
func (f *Health) Probe() (*openapi.Probe, error) {
	if f.command == "" {
		if *f != (Health{}) {
			return nil, exit.Usagef("--health-interval, --health-timeout, --health-start-period and --health-retries need --health-cmd")
		}
		return nil, nil
	}
	out := openapi.Probe{Exec: &[]string{"/bin/sh", "-c", f.command}, FailureThreshold: given(f.retries)}
	for name, d := range map[string]struct {
		from time.Duration
		to   **int
	}{
		"--health-interval": {f.interval, &out.PeriodSeconds}, "--health-timeout": {f.timeout, &out.TimeoutSeconds},
		"--health-start-period": {f.startPeriod, &out.InitialDelaySeconds},
	} {
		if d.from < 0 || d.from%time.Second != 0 {
			return nil, exit.Usagef("%s %s: give whole seconds", name, d.from)
		}
		*d.to = given(int(d.from / time.Second))
	}
	return &out, nil
}
