package recovery

import (
	"testing"

	"husk/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }
