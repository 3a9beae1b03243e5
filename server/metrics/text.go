// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"bytes"
	"compress/gzip"
	"errors"
	"strconv"
	"strings"
	"sync"

	"husk"
)

// page is the metrics of one tenant from one read. The text is created when it is first needed.
type page struct {
	tenant *husk.TenantMetrics

	plain, packed    sync.Once
	text, compressed []byte
	packing          error
}

// Text returns the page in Prometheus' text format, version 0.0.4.
func (p *page) Text() []byte {
	p.plain.Do(func() { p.text = textOf(p.tenant) })
	return p.text
}

// Gzip returns the text, compressed with gzip.
func (p *page) Gzip() ([]byte, error) {
	p.packed.Do(func() {
		var out bytes.Buffer
		w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
		if err == nil {
			_, err = w.Write(p.Text())
			err = errors.Join(err, w.Close())
		}
		p.compressed, p.packing = out.Bytes(), err
	})
	return p.compressed, p.packing
}

const bytesPerSeries = 110 // about

func textOf(t *husk.TenantMetrics) []byte {
	tenant := `{tenant="` + escapeLabel(t.Name) + `"`
	pods := make([]string, len(t.Pods))
	for i := range t.Pods {
		pods[i] = tenant + `,pod="` + escapeLabel(t.Pods[i].Name) + `"} `
	}
	out := make([]byte, 0, bytesPerSeries*len(table)*(len(t.Pods)+4))
	for _, f := range table {
		head := len(out)
		out = append(out, "# HELP "+f.Name+" "+f.Help+"\n# TYPE "+f.Name+" "+f.Type+"\n"...)
		first := len(out)
		for i := range t.Pods {
			if f.pod == nil {
				break
			}
			if value, there := f.pod(&t.Pods[i]); there {
				out = append(append(out, f.Name...), pods[i]...)
				out = append(appendValue(out, value), '\n')
			}
		}
		if f.each != nil {
			f.each(t, func(value float64, labels ...string) {
				out = append(append(out, f.Name...), tenant...)
				for i := 0; i+1 < len(labels); i += 2 {
					out = append(append(append(append(out, ','), labels[i]...), '=', '"'), escapeLabel(labels[i+1])...)
					out = append(out, '"')
				}
				out = append(appendValue(append(out, "} "...), value), '\n')
			})
		}
		if len(out) == first {
			out = out[:head] // the metric has no series
		}
	}
	return out
}

func appendValue(out []byte, v float64) []byte {
	if whole := int64(v); float64(whole) == v {
		return strconv.AppendInt(out, whole, 10)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func escapeLabel(s string) string {
	if !strings.ContainsAny(s, "\\\"\n") {
		return s
	}
	return labelEscapes.Replace(s)
}
