// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"husk"
	"husk/openapi"
	"husk/server/request"
)

// maxUsageRange is the longest time range of one request.
const maxUsageRange = 400 * 24 * time.Hour

// usageRowBytes is about what a row needs while a response is made and sent.
const usageRowBytes = 1 << 10

// GetUsage returns the usage of the tenant.
func (a api) GetUsage(ctx context.Context, r openapi.GetUsageRequestObject) (openapi.GetUsageResponseObject, error) {
	p := r.Params
	q, err := usageQuery(p.From, p.To, string(openapi.Value(p.Period)), string(openapi.Value(p.GroupBy)), openapi.Value(p.Label))
	if err != nil {
		return nil, err
	}
	rows, err := a.tenant(ctx).Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := request.Of(ctx).Hold(len(rows) * usageRowBytes); err != nil {
		return nil, err
	}
	a.price(rows)
	if openapi.Value(p.Format) == openapi.GetUsageParamsFormatCsv {
		body, length, err := usageCSV(rows)
		return openapi.GetUsage200TextCsvResponse{Body: body, ContentLength: length}, err
	}
	list, err := a.usageList(rows)
	return openapi.GetUsage200JSONResponse(list), err
}

// AdminGetUsage returns the usage of all tenants.
func (a api) AdminGetUsage(ctx context.Context, r openapi.AdminGetUsageRequestObject) (openapi.AdminGetUsageResponseObject, error) {
	p := r.Params
	q, err := usageQuery(p.From, p.To, string(openapi.Value(p.Period)), string(openapi.Value(p.GroupBy)), openapi.Value(p.Label))
	if err != nil {
		return nil, err
	}
	rows, err := a.control.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	a.price(rows)
	if openapi.Value(p.Format) == openapi.AdminGetUsageParamsFormatCsv {
		body, length, err := usageCSV(rows)
		return openapi.AdminGetUsage200TextCsvResponse{Body: body, ContentLength: length}, err
	}
	list, err := a.usageList(rows)
	return openapi.AdminGetUsage200JSONResponse(list), err
}

// usageQuery fills in defaults: this month until now, in total.
func usageQuery(from, to *time.Time, period, group, label string) (husk.UsageQuery, error) {
	now := time.Now().UTC()
	q := husk.UsageQuery{
		From: time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), To: now.Truncate(time.Hour).Add(time.Hour),
		Period: husk.UsageTotal, GroupBy: husk.UsageByNothing, Label: label,
	}
	if from != nil {
		q.From = from.UTC().Truncate(time.Hour)
	}
	if to != nil {
		q.To = to.UTC().Add(time.Hour - 1).Truncate(time.Hour)
	}
	if period != "" {
		q.Period = husk.UsagePeriod(period)
	}
	if group != "" {
		q.GroupBy = husk.UsageGroup(group)
	}
	switch {
	case !q.From.Before(q.To):
		return q, husk.Errorf(husk.CodeInvalid, "to", "the range is empty: from %s to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.To.Sub(q.From) > maxUsageRange:
		return q, husk.Errorf(husk.CodeInvalid, "from", "the range can be at most %d days long", int(maxUsageRange.Hours()/24))
	case q.GroupBy == husk.UsageByLabel && label == "":
		return q, husk.Errorf(husk.CodeInvalid, "label", "groupBy=label needs a label, such as label=app")
	case q.GroupBy != husk.UsageByLabel && label != "":
		return q, husk.Errorf(husk.CodeInvalid, "label", "label requires groupBy=label")
	}
	return q, nil
}

// price adds the cost, if there is a price list.
func (a api) price(rows []husk.Usage) {
	if a.prices == (husk.PriceList{}) {
		return
	}
	for i := range rows {
		rows[i].Cost = new(a.prices.Cost(rows[i]))
	}
}

func (a api) usageList(rows []husk.Usage) (openapi.UsageList, error) {
	items, err := openapi.Recast[[]openapi.Usage](rows)
	list := openapi.UsageList{Items: items}
	if items == nil {
		list.Items = []openapi.Usage{}
	}
	if a.prices.Currency != "" {
		list.Currency = &a.prices.Currency
	}
	return list, err
}

func usageCSV(rows []husk.Usage) (io.Reader, int64, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	lines := [][]string{{
		"from", "to", "closed", "key", "name", "kind", "pod_seconds", "cpu_core_seconds", "memory_gib_seconds", "volume_gib_seconds",
		"network_received_bytes", "network_sent_bytes", "cost", "scratch_gib_seconds",
		"network_outside_received_bytes", "network_outside_sent_bytes",
	}}
	for _, u := range rows {
		cost := ""
		if u.Cost != nil {
			cost = number(*u.Cost)
		}
		lines = append(lines, []string{
			u.From.Format(time.RFC3339), u.To.Format(time.RFC3339), strconv.FormatBool(u.Closed), harmless(u.Key), harmless(u.Name), u.Kind,
			number(u.PodSeconds), number(u.CPUCoreSeconds), number(u.MemoryGiBSeconds), number(u.VolumeGiBSeconds),
			strconv.FormatInt(u.NetworkReceivedBytes, 10), strconv.FormatInt(u.NetworkSentBytes, 10), cost, number(u.ScratchGiBSeconds),
			strconv.FormatInt(u.NetworkOutsideReceivedBytes, 10), strconv.FormatInt(u.NetworkOutsideSentBytes, 10),
		})
	}
	err := w.WriteAll(lines)
	return &b, int64(b.Len()), err
}

// harmless keeps spreadsheets from interpreting the value of a label as a formula.
func harmless(text string) string {
	if text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") {
		return "'" + text
	}
	return text
}
