// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"husk/guest"
)

const (
	healthMethod = "/grpc.health.v1.Health/Check"
	maxAnswer    = 1 << 10 // bytes; a HealthCheckResponse has two
	frameHeader  = 5       // compressed or not, and the length of the message
	serving      = 1       // of HealthCheckResponse.ServingStatus
)

// GRPC calls Check of the standard health service. The request and the response have one field each,
// so they need no protocol compiler.
func GRPC(ctx context.Context, host string, port guest.GRPCPort) error {
	transport := newTransport()
	defer transport.CloseIdleConnections()
	transport.DisableKeepAlives = false // it would close the connection before the response ends
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address(host, port.Port)+healthMethod, bytes.NewReader(healthRequest(port.Service)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("User-Agent", "husk-probe")
	response, err := transport.RoundTrip(r)
	if err != nil {
		return shorten(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d instead of an answer of gRPC", response.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return shorten(err)
	}
	if len(answer) > maxAnswer {
		return errors.New("the answer of gRPC is too long")
	}
	const statusName = "Grpc-Status"
	if status := cmp.Or(response.Trailer.Get(statusName), response.Header.Get(statusName)); status != "0" {
		return fmt.Errorf("gRPC status %q", status[:min(len(status), 16)])
	}
	status, err := servingStatus(answer)
	if err != nil {
		return err
	}
	if status != serving {
		return errors.New("the service is not serving")
	}
	return nil
}

// healthRequest returns the frame with a HealthCheckRequest: field 1, service, a string.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service))), service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// servingStatus returns field 1 of a HealthCheckResponse, an enumeration. Without it, it is 0.
func servingStatus(frame []byte) (uint64, error) {
	bad := errors.New("the answer is not of gRPC's health service")
	if len(frame) < frameHeader || frame[0] != 0 || int(binary.BigEndian.Uint32(frame[1:])) != len(frame)-frameHeader {
		return 0, bad
	}
	message := frame[frameHeader:]
	if len(message) == 0 {
		return 0, nil
	}
	status, n := binary.Uvarint(message[1:])
	if message[0] != 1<<3 || n <= 0 || 1+n != len(message) {
		return 0, bad
	}
	return status, nil
}
