// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"fmt"
	"time"

	"husk/cli/print"
	"husk/openapi"
)

// Usage shows usage and its cost.
var Usage = print.View[openapi.Usage]{
	Kind: "usage",
	Name: func(u openapi.Usage) string { return openapi.Value(u.Key) },
	Columns: []print.Column[openapi.Usage]{
		print.Col("FROM", func(u openapi.Usage) string { return u.From.Format("2006-01-02T15:04Z07:00") }),
		print.Col("TO", func(u openapi.Usage) string { return u.To.Format("2006-01-02T15:04Z07:00") }),
		print.Col("OF", func(u openapi.Usage) string {
			if u.Name != nil {
				return openapi.Value(u.Kind) + "/" + *u.Name
			}
			return openapi.Value(u.Key)
		}),
		print.Col("POD-HOURS", func(u openapi.Usage) string { return hours(u.PodSeconds) }),
		print.Col("CORE-HOURS", func(u openapi.Usage) string { return hours(u.CPUCoreSeconds) }),
		print.Col("MEMORY-GIB-HOURS", func(u openapi.Usage) string { return hours(u.MemoryGiBSeconds) }),
		print.Col("VOLUME-GIB-HOURS", func(u openapi.Usage) string { return hours(u.VolumeGiBSeconds) }),
		print.WideCol("SCRATCH-GIB-HOURS", func(u openapi.Usage) string { return hours(openapi.Value(u.ScratchGiBSeconds)) }),
		print.Col("SENT", func(u openapi.Usage) string { return print.Mebibytes(u.NetworkSentBytes) }),
		print.WideCol("SENT-OUTSIDE", func(u openapi.Usage) string { return print.Mebibytes(u.NetworkOutsideSentBytes) }),
		print.WideCol("RECEIVED", func(u openapi.Usage) string { return print.Mebibytes(u.NetworkReceivedBytes) }),
		print.Col("COST", func(u openapi.Usage) string {
			if u.Cost == nil {
				return ""
			}
			return fmt.Sprintf("%.2f", *u.Cost)
		}),
		print.WideCol("CLOSED", func(u openapi.Usage) string { return fmt.Sprint(u.Closed) }),
	},
}

func hours(seconds float64) string { return fmt.Sprintf("%.2f", seconds/time.Hour.Seconds()) }
