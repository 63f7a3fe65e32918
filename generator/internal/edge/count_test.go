// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

func TestCount(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 33, 100, 1000, 10_000, 1_000_000} {
		var c edge.Count
		for i := range 2 * n { // each twice
			c.Add(xxhash.Sum64String(fmt.Sprint(i % max(n, 1))))
		}
		got, estimated := c.Value()
		if estimated != (n > 32) {
			t.Errorf("%d flows: estimated is %v", n, estimated)
		}
		if !estimated && got != uint64(n) || !near(got, n, 0.2) {
			t.Errorf("%d flows counted as %d", n, got)
		}
	}
}

// TestCountHasNoBias counts many sets of the sizes where estimators are known to be wrong on average.
// Identifiers in sequence are as good as random ones.
func TestCountHasNoBias(t *testing.T) {
	const sets = 400
	for _, n := range []int{40, 200, 640, 1000, 5000} {
		sum, id := 0.0, uint64(0)
		for range sets {
			var c edge.Count
			for range n {
				id++
				c.Add(id)
			}
			got, _ := c.Value()
			sum += float64(got)
		}
		if mean := sum / sets; math.Abs(mean/float64(n)-1) > 0.012 { // nearly four standard errors of the mean
			t.Errorf("%d flows are counted as %.1f on average", n, mean)
		}
	}
}

func near(got uint64, want int, part float64) bool {
	return math.Abs(float64(got)-float64(want)) <= part*float64(want)
}

// TestToldCount: a count that was read from JSON is known without its flows, and what is counted later may be the same.
func TestToldCount(t *testing.T) {
	counted := func(n uint64) (c edge.Count) {
		for i := range n {
			c.Add(i)
		}
		return c
	}
	told := func(n uint64) edge.Count {
		was := edge.Edge{Evidence: edge.Evidence{Flows: counted(n)}}
		text, err := json.Marshal(was)
		if err != nil {
			t.Fatal(err)
		}
		var is edge.Edge
		if err := json.Unmarshal(text, &is); err != nil {
			t.Fatal(err)
		}
		wantN, wantRough := was.Flows.Value()
		if n, rough := is.Flows.Value(); n != wantN || rough != wantRough {
			t.Errorf("read %d, %v; written was %d, %v", n, rough, wantN, wantRough)
		}
		return is.Flows
	}
	many := counted(1000)
	thousand, _ := many.Value()
	for _, tt := range []struct {
		a, b  edge.Count
		want  uint64
		rough bool
	}{
		{told(0), told(0), 0, false},
		{told(9), counted(0), 9, false},
		{told(9), counted(3), 9, true},
		{told(9), counted(12), 12, false},
		{told(9), told(20), 20, false},
		{told(1000), told(20), thousand, true},
		{told(1000), counted(5), thousand, true},
	} {
		for _, pair := range [][2]edge.Count{{tt.a, tt.b}, {tt.b, tt.a}} {
			var sum edge.Count
			sum.Merge(&pair[0])
			sum.Merge(&pair[1])
			if n, rough := sum.Value(); n != tt.want || rough != tt.rough {
				t.Errorf("%d (%v), want %d (%v)", n, rough, tt.want, tt.rough)
			}
		}
	}
}
