// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// The measures of a picture, in pixels.
const (
	columnsMost  = 200
	columnWidth  = 6
	columnHeight = 300
	margin       = 30
)

// Picture draws the packing as it was when the last pod had arrived. Each used node is a column whose left
// half is cpu and whose right half is memory. Each pod is a box as high as its share, and white is
// free. It draws the fullest nodes first. If there are more than 200, it draws 200 of them,
// evenly spaced in this order, so that the picture stays small.
func Picture(w io.Writer, nodes []Node, pods []Pod, r Result) error {
	by := make([][]int, len(nodes))
	for id, node := range r.On {
		if node >= 0 {
			by[node] = append(by[node], id)
		}
	}
	fill := func(node int) float64 {
		var cpu, memory float64
		for _, id := range by[node] {
			cpu += float64(pods[id].Size.CPUMillis)
			memory += float64(pods[id].Size.MemoryMiB)
		}
		return cpu/float64(max(1, nodes[node].Capacity.CPUMillis)) + memory/float64(max(1, nodes[node].Capacity.MemoryMiB))
	}
	var used []int
	for i := range nodes {
		if len(by[i]) > 0 {
			used = append(used, i)
		}
	}
	slices.SortStableFunc(used, func(a, b int) int {
		switch x, y := fill(a), fill(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	drawn := min(len(used), columnsMost)
	out := bufio.NewWriter(w)
	width := 2*margin + max(drawn, 60)*columnWidth
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, columnHeight+2*margin)
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="20">%s: %d nodes used, %d of them drawn; the left half of a column is cpu, the right half is memory, white is free</text>`+"\n",
		margin, r.Policy, len(used), drawn)
	paths := map[string][]byte{}
	for c := range drawn {
		node := used[c*len(used)/drawn]
		x := margin + c*columnWidth
		var cpu, memory float64
		for _, id := range by[node] {
			color := colorOf(pods[id])
			box := func(x int, from *float64, share float64) {
				top := int(*from * columnHeight)
				*from += share
				if h := int(*from*columnHeight) - top; h > 0 {
					paths[color] = fmt.Appendf(paths[color], "M%d %dh2v%dh-2z", x, margin+columnHeight-top, -h)
				}
			}
			box(x, &cpu, float64(pods[id].Size.CPUMillis)/float64(max(1, nodes[node].Capacity.CPUMillis)))
			box(x+3, &memory, float64(pods[id].Size.MemoryMiB)/float64(max(1, nodes[node].Capacity.MemoryMiB)))
		}
	}
	for _, color := range palette {
		if len(paths[color]) > 0 {
			fmt.Fprintf(out, `<path fill="%s" stroke="#fff" stroke-width=".3" d="%s"/>`+"\n", color, paths[color])
		}
	}
	fmt.Fprintf(out, `<path stroke="#333" d="M%d %dH%dM%d %dH%d"/></svg>`+"\n", margin, margin, width-margin, margin, margin+columnHeight, width-margin)
	return out.Flush()
}

// palette distinguishes sizes, also for most color-blind people (Okabe and Ito).
var palette = []string{"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999"}

func colorOf(p Pod) string {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, p.Size.CPUMillis, p.Size.MemoryMiB)
	return palette[h.Sum32()%uint32(len(palette))]
}
