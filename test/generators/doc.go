// SPDX-License-Identifier: Apache-2.0

// Package generators is a module of its own, with the generators of API clients that a test in test/e2e/pods runs with the contract that a
// server serves. Each command here uses one of the generated clients. build has the generated code.
package generators
