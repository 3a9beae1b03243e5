// SPDX-License-Identifier: Apache-2.0

// Command husk-probe asks a service of a pod whether it is healthy. husk-init runs it for probes and
// hooks by HTTP and gRPC. Its code is in package guest/probe.
package main

import "husk/guest/probe"

func main() { probe.Main() }
