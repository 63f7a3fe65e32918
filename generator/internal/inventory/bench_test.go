// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// BenchmarkReadAndFold is the whole way from JSON lines to edges on one core, with the inventory's
// attribution. Every flow has its own uuid.
func BenchmarkReadAndFold(b *testing.B) {
	const dir = "../proposal/testdata/three-tier/"
	inv, err := inventory.FromDir(dir + "inventory")
	if err != nil {
		b.Fatal(err)
	}
	once, err := os.ReadFile(dir + "flows.jsonl")
	if err != nil {
		b.Fatal(err)
	}
	var input bytes.Buffer
	const times = 300
	for i := range times {
		input.Write(bytes.ReplaceAll(once, []byte(`"uuid":"00000000`), fmt.Appendf(nil, `"uuid":"%08d`, i)))
	}
	flowCount := uint64(0)
	b.SetBytes(int64(input.Len()))
	for b.Loop() {
		attribution := inv.Attribute(edge.DefaultLimits)
		stats, err := flows.Read(bytes.NewReader(input.Bytes()), "flows", 0, attribution.Add)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := attribution.Settle(); err != nil {
			b.Fatal(err)
		}
		flowCount += stats.Flows
	}
	b.ReportMetric(float64(flowCount)/b.Elapsed().Seconds(), "flows/s")
}
