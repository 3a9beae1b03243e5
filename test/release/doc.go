// SPDX-License-Identifier: Apache-2.0

// Package release tests the packages of a release on a fresh Debian, which systemd boots as a container.
// `make release-check` runs it: the script run builds the release twice, installs Debian and the
// packages, and purges them at the end.
package release
