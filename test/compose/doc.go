// SPDX-License-Identifier: Apache-2.0

// Package compose tests docker-compose.yml with a real Docker. `make compose` runs it: the script run builds the images on a fresh Debian, and
// starts this test in a network namespace of its own.
package compose
