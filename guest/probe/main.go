// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"husk/guest"
)

// Request is what the program reads from its standard input.
type Request struct {
	Host   string
	Action guest.Action
}

// Main does the action. If it fails, Main prints the reason and exits with 1. husk-init ends the
// program when the time is over.
func Main() {
	if err := do(context.Background(), os.Stdin); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func do(ctx context.Context, in io.Reader) error {
	var r Request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	switch {
	case r.Action.HTTPGet != nil:
		return HTTP(ctx, r.Host, *r.Action.HTTPGet)
	case r.Action.GRPC != nil:
		return GRPC(ctx, r.Host, *r.Action.GRPC)
	default:
		return errors.New("neither HTTP nor gRPC")
	}
}
