// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// dockerFlags says what to do without the flags of docker run that husk run does not have.
var dockerFlags = map[string]string{
	"gpus":               "pods have no GPUs",
	"link":               "pods of a tenant reach each other by name, NAME.pods.husk.internal",
	"userns":             "a pod is a virtual machine of its own",
	"cgroupns":           "a pod is a virtual machine of its own",
	"attach":             "without -d, husk run is attached to the container",
	"memory-reservation": "use --memory",
	"mac-address":        "a pod's interface gets its address from the network",
	"publish-all":        "use -p PORT:POD-PORT",
	"storage-opt":        "use --ephemeral-storage",
	"mount":              "use -v VOLUME:/path",
	"cpu-period":         "use --cpus",
	"cpu-quota":          "use --cpus",
	"cpu-shares":         "use --cpus",
	"cpuset-cpus":        "use --cpus",
	"memory-swap":        "use --memory",
	"pull":               "use husk image import, which imports the image again",
	"cidfile":            "use -d, which prints the pod's name",
	"net":                "use --network NAME",
	"ip":                 "use --network NAME=ADDRESS",
	"ip6":                "the IPv6 address follows from the IPv4 address: use --network NAME=ADDRESS",
	"network-alias":      "use a service, husk service create",
	"expose":             "all ports of a pod are open in the tenant's network",
	"device":             "use --privileged",
	"pid":                "a pod is a virtual machine of its own",
	"ipc":                "the containers of a pod share their IPC namespace",
	"runtime":            "a pod is a virtual machine of its own",
	"platform":           "pods run on linux/amd64",
	"log-driver":         "use husk logs",
	"label-file":         "use --label",
	"volumes-from":       "use -v VOLUME:/path",
	"health-cmd":         "use a document with probes, husk apply",
	"oom-kill-disable":   "use --memory",
}

// Counterpart adds to the error about an unknown flag what to do instead, if docker has the flag.
func Counterpart(cmd *cobra.Command, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if why, ok := dockerFlags[name]; unknown && ok {
		return fmt.Errorf("husk run has no --%s: %s", name, why)
	}
	return FlagError(cmd, err)
}

// FlagError says what a flag allows if its value is wrong, instead of how it was parsed.
func FlagError(_ *cobra.Command, err error) error {
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag := wrong.GetFlag()
	words, known := map[string]string{
		"int": "a whole number, such as 20", "int64": "a whole number, such as 20", "float64": "a number, such as 0.5", "bool": "true or false",
		"duration": "a duration, such as 30s, 5m or 1h30m",
	}[flag.Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s: %q is not %s", flag.Name, wrong.GetValue(), words)
}
