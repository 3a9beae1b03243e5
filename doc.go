// Package husk is the vocabulary of the platform: pods, volumes, images, nodes,
// tenants, and the one error type with its stable codes. Plain types only: it
// imports nothing of ours, and everything else may import it.
package husk
