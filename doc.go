// SPDX-License-Identifier: Apache-2.0

// Package husk is the vocabulary of the platform: pods, volumes, images, nodes, tenants, and the error type with its stable codes.
// It has plain types only. It imports no other package of this module, and every package may import it.
package husk
