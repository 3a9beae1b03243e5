// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// dockerFlags says what to do without the flags of docker run that husk run does not have.
var dockerFlags = map[string]string{
	"mount":            "use -v VOLUME:/path",
	"cpu-period":       "use --cpus",
	"cpu-quota":        "use --cpus",
	"cpu-shares":       "use --cpus",
	"cpuset-cpus":      "use --cpus",
	"memory-swap":      "use --memory",
	"pull":             "use husk image import, which imports the image again",
	"cidfile":          "use -d, which prints the pod's name",
	"net":              "use --network NAME",
	"ip":               "use --network NAME=ADDRESS",
	"ip6":              "the IPv6 address follows from the IPv4 address: use --network NAME=ADDRESS",
	"network-alias":    "use a service, husk service create",
	"expose":           "all ports of a pod are open in the tenant's network",
	"security-opt":     "a pod is a virtual machine; see also --privileged",
	"cap-add":          "use --privileged",
	"device":           "use --privileged",
	"pid":              "a pod is a virtual machine of its own",
	"ipc":              "the containers of a pod share their IPC namespace",
	"runtime":          "a pod is a virtual machine of its own",
	"platform":         "pods run on linux/amd64",
	"log-driver":       "use husk logs",
	"label-file":       "use --label",
	"volumes-from":     "use -v VOLUME:/path",
	"health-cmd":       "pods have no health checks yet",
	"oom-kill-disable": "use --memory",
}

// Counterpart adds to the error about an unknown flag what to do instead, if docker has the flag.
func Counterpart(_ *cobra.Command, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if why, ok := dockerFlags[name]; unknown && ok {
		return fmt.Errorf("husk run has no --%s: %s", name, why)
	}
	return err
}
