// SPDX-License-Identifier: Apache-2.0

// Package scale measures servers with large databases.
package scale

import (
	"testing"

	"husk/dev/devtest"
)

func TestMain(m *testing.M) { devtest.Main(m) }
