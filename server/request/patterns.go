// SPDX-License-Identifier: Apache-2.0

package request

// PatternWords says in words what the patterns of the contract require. Problems contain these instead of regular expressions.
var PatternWords = map[string]string{
	`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`:    "use lowercase letters, digits and hyphens, and begin and end with a letter or a digit",
	`^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$`: "use lowercase letters, digits and hyphens, and begin and end with a letter or a digit",
	`^[a-z0-9-]+$`:                       "use lowercase letters, digits and hyphens",
	`^/`:                                 "begin with /",
	`^/.+`:                               "begin with /, and name something other than / itself",
	`^/.*[^/]$`:                          "begin with /, and do not end with /",
	`^[A-Za-z_][A-Za-z0-9_]*$`:           "use letters, digits and underscores, and do not begin with a digit",
	`^[-._a-zA-Z0-9]+$`:                  "use letters, digits, hyphens, underscores and dots",
	`^[A-Za-z0-9_.]([-A-Za-z0-9_.]*[A-Za-z0-9_.])?$`: "use letters, digits, hyphens, underscores and dots, and do not begin or end with a hyphen",
	`^[0-9A-Fa-f:.]+$`:            "write an IP address",
	`^[0-9.]+$`:                   "write an IPv4 address",
	`^[0-9.]+/[0-9]{1,2}$`:        "write a range of IPv4 addresses, such as 10.1.0.0/24",
	`^[0-9A-Fa-f:.]+/[0-9]{1,3}$`: "write a range of IPv6 addresses, such as fd00:1::/64",
	`^[a-z][a-z0-9_-]*([./][A-Za-z0-9][A-Za-z0-9_-]*)+$`: "write the name of a kernel parameter, such as net.core.somaxconn",
	`^[^=]+=`:                           "write NAME=VALUE",
	`^[^=\x00]+$`:                       "use neither = nor a zero byte",
	`^[A-Za-z0-9+/]*={0,2}$`:            "encode the content with base64 (RFC 4648, section 4)",
	`^0?[0-7]{3}$`:                      "write three octal digits, such as 0644",
	`^https://`:                         "begin with https://",
	`^[A-Za-z0-9_-]{43}$`:               "send the SHA-256 hash of the verifier, encoded with base64url without padding",
	`^[A-Za-z0-9-]{1,64}\.[0-9]{1,20}$`: "send a cursor of an earlier response",
	`^[a-zA-Z0-9]([-a-zA-Z0-9_./]*[a-zA-Z0-9])?(=[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?$`: "write KEY or KEY=VALUE, each of letters, digits and -_. between letters or digits",
	`^(SIG)?[A-Z0-9]+([+-][0-9]+)?$`: "write the name or the number of a signal, such as SIGINT, RTMIN+3 or 2",
	`^[^:,\x00-\x20]+$`:              "use the name or the number of a group, without spaces, colons and commas",
	`^[^\x00-\x20]*$`:                "use no spaces and control characters",
	`^[A-Za-z0-9_-]+$`:               "use letters, digits, - and _",
	`^[^\x00-\x08\x0a-\x1f\x7f]*$`:   "use no control characters",
	`^(ALL|AUDIT_(CONTROL|READ|WRITE)|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|DAC_(OVERRIDE|READ_SEARCH)|FOWNER|FSETID|IPC_(LOCK|OWNER)|KILL|LEASE|LINUX_IMMUTABLE|MAC_(ADMIN|OVERRIDE)|MKNOD|NET_(ADMIN|BIND_SERVICE|BROADCAST|RAW)|PERFMON|SET(FCAP|GID|PCAP|UID)|SYS_(ADMIN|BOOT|CHROOT|MODULE|NICE|PACCT|PTRACE|RAWIO|RESOURCE|TIME|TTY_CONFIG)|SYSLOG|WAKE_ALARM)$`: "name a capability of Linux without CAP_, such as NET_ADMIN, or ALL",
	`^[^\x00-\x1f\x7f]*$`: "use no control characters",
	`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`: "write the full name of a host in lower case, such as www.example.com",
	`^/[^\s?#%]*$`: "begin with /, and use no spaces, ?, # and %",
}
