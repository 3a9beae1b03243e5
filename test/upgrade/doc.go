// SPDX-License-Identifier: Apache-2.0

// Package upgrade tests that the previous version works together with this one. `make upgrade` runs
// it: the script run builds the previous version, which the file PREVIOUS names by its commit.
package upgrade
