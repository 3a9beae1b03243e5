// SPDX-License-Identifier: Apache-2.0

// Package install tests docs/install.md: on fresh machines of Debian 13, it types what the page prints. `make install-check` runs it: the
// script run makes the Debian and a release. The machines are containers of systemd on hosts of a test bed, each with a network of its own.
package install
