// SPDX-License-Identifier: Apache-2.0

// Package stack gives end-to-end tests the same installation that users have: one `huskd dev` per
// test binary, with real Postgres, Ceph, libvirt, QEMU and registry. It starts when the first test
// needs it.
//
//	func TestMain(m *testing.M) { stack.Main(m) }
//
//	func TestAPod(t *testing.T) {
//		tn := stack.NewTenant(t)                            // deleted with all its objects when the test ends
//		image := tn.ImportImage(t, "busybox")
//		pod := tn.Create(t, "name", func(s *openapi.PodSpec) { … })
//		tn.Wait(t, pod.ID, openapi.PodPhaseRunning)
//	}
//
// Each test binary runs in its own namespaces (namespace.go). So several can run at the same time,
// also together with `make up`, and no process remains when they end. Stopping the stack checks
// that the tests and huskd left no domain, disk, key, process, interface or firewall table
// (leaks.go), and that every response of the API matched the contract.
//
// Tests wait with Eventually, Wait and WaitForLog. Package pace adapts their time limits to the
// machine.
package stack
