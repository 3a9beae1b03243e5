// SPDX-License-Identifier: Apache-2.0

// Package simulate runs the scheduler, and the rules of other schedulers, over recorded workloads,
// and measures how tightly and how fast each packs. It reads CSV and follows the time of the trace.
// Every decision is made by the scheduler library.
package simulate
