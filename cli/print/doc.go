// SPDX-License-Identifier: Apache-2.0

// Package print shows objects on the command line: as tables, as JSON or YAML, as names, and as they change.
//
// A [View] says which columns a kind of object has. A [Printer] prints in the format that --output gives. Text from the API goes through
// [Clean] before it reaches a terminal.
package print
