// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// TestCalicoEdges: what Calico aggregated is resolved by labels where they name one workload, and listed
// otherwise.
func TestCalicoEdges(t *testing.T) {
	inv := translatedInventory(t)
	const line = `{"start_time":1795168800,"end_time":1795169100,"source_ip":null,"source_name":"-","source_name_aggr":"FROM-*","source_namespace":"shop","source_port":null,` +
		`"source_type":"wep","source_labels":{"labels":["app=api","track=FROM"]},"dest_ip":IP,"dest_name":"-","dest_name_aggr":"AGGR","dest_namespace":"NS","dest_port":PORT,` +
		`"dest_type":"TYPE","dest_labels":{"labels":["app=api","track=stable"]},"proto":"tcp","action":"allow","reporter":"src","num_flows_started":2}`
	for _, tt := range []struct{ name, from, to, port, want, reason string }{
		{"both by labels", "canary", `null stable-* shop wep`, "3000", "Deployment shop/canary → Deployment shop/stable TCP/3000", ""},
		{"labels of nobody", "gone", `null stable-* shop wep`, "3000", "Pod shop/gone-* → Deployment shop/stable TCP/3000", "no-workload"},
		{"without a port", "canary", `null stable-* shop wep`, "null", "Deployment shop/canary → Deployment shop/stable TCP", "left-out"},
		{"without an address", "canary", `null pub - net`, "443", "Deployment shop/canary → aggregated 0.0.0.0 TCP/443", "left-out"},
		{"an address", "canary", `"192.0.2.1" pub - net`, "443", "Deployment shop/canary → 192.0.2.1 TCP/443", ""},
		{"a node", "canary", `"10.9.0.1" node-1 - hep`, "10250", "Deployment shop/canary → remote-node 10.9.0.1 TCP/10250", ""},
	} {
		to := strings.Fields(tt.to)
		text := strings.NewReplacer("FROM", tt.from, "IP", to[0], "AGGR", to[1], "NS", to[2], "TYPE", to[3], "PORT", tt.port).Replace(line)
		a := inv.Attribute(edge.Limits{})
		for range 2 { // reading it twice changes nothing
			if _, err := flows.Read(strings.NewReader(text), "f", 0, a.Add); err != nil {
				t.Fatal(err)
			}
		}
		fold, err := a.Settle()
		if err != nil {
			t.Fatal(err)
		}
		edges := fold.Edges()
		if n, _ := edges[0].Flows.Value(); len(edges) != 1 || edges[0].String() != tt.want || n != 2 {
			t.Errorf("%s: %v with %d flows, want %s with 2", tt.name, edges, n, tt.want)
		}
		found := evidence.Sort(edges, inv, evidence.Criteria{})
		listed := slices.ContainsFunc(found.Listed, func(l evidence.Listed) bool { return string(l.Reason) == tt.reason })
		if listed != (tt.reason != "") {
			t.Errorf("%s: listed %+v, want reason %q", tt.name, found.Listed, tt.reason)
		}
	}
}
