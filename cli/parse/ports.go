// SPDX-License-Identifier: Apache-2.0

package parse

import (
	"strconv"
	"strings"

	"husk/cli/exit"
	"husk/openapi"
)

// Port reads [LOCAL:]REMOTE. LOCAL may be 0, which is any free port.
func Port(text string) (local, remote int, _ error) {
	l, r, both := strings.Cut(text, ":")
	if !both {
		r = l
	}
	from, err1 := strconv.ParseUint(l, 10, 16)
	to, err2 := strconv.ParseUint(r, 10, 16)
	if err1 != nil || err2 != nil || to == 0 {
		return 0, 0, exit.Usagef("%q is not [LOCAL:]REMOTE, such as 8080:80", text)
	}
	return int(from), int(to), nil
}

// ServicePort reads [NAME=]PORT[:POD-PORT][/PROTOCOL], such as http=80:8080 or 53/udp.
func ServicePort(text string) (openapi.ServicePort, error) {
	var port openapi.ServicePort
	rest := text
	if name, numbers, named := strings.Cut(text, "="); named {
		port.Name, rest = &name, numbers
	}
	rest, protocol, given := strings.Cut(rest, "/")
	if given {
		p := openapi.ServicePortProtocol(strings.ToUpper(protocol))
		if p != openapi.ServicePortProtocolTCP && p != openapi.ServicePortProtocolUDP {
			return port, exit.Usagef("--port: %q is not tcp or udp in %q", protocol, text)
		}
		port.Protocol = &p
	}
	at, to, err := Port(rest)
	if err != nil || at == 0 {
		return port, exit.Usagef("--port: %q is not [NAME=]PORT[:POD-PORT][/udp], such as http=80:8080", text)
	}
	if port.Port = at; to != at {
		port.TargetPort = &to
	}
	return port, nil
}
