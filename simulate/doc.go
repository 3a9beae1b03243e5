// Package simulate runs the scheduler, and the rules of other schedulers, over recorded workloads, and says how tightly and how fast each
// packs. It reads CSV, keeps the clock of the trace, and measures; every decision is the scheduler library's own.
package simulate
