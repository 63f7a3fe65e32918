// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"
	"io"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// open is a map of n workloads, ten in a namespace, without any policy: the most lines that there can be.
func open(n int) *reach.Map {
	var ends []reach.End
	for i := range n {
		ends = append(ends, workload(fmt.Sprintf("ns%03d", i/10), fmt.Sprint("w", i%10)))
	}
	var lines []reach.Line
	for _, from := range ends {
		for _, to := range ends {
			lines = append(lines, reach.Line{From: from, To: to, Ports: netpol.AllPorts()})
		}
	}
	return &reach.Map{Ends: ends, Lines: lines}
}

func BenchmarkDraw(b *testing.B) {
	for _, n := range []int{60, 1000} {
		for name, m := range map[string]*reach.Map{"some": random(n), "open": open(n)} {
			for format, draw := range formats {
				b.Run(fmt.Sprintf("%s/%s/%d", format, name, n), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if err := draw(io.Discard, m); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
