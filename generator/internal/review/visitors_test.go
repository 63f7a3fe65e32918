// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
)

// TestVisitors: of a door with many visitors the pull request says how to open it to everybody, in a decision that can be pasted. Nodes,
// and who was decided about, are named one by one.
func TestVisitors(t *testing.T) {
	web := edge.Endpoint{Kind: "Deployment", Namespace: "shop", Name: "web"}
	from := func(address, entity string, port uint16) evidence.Connection {
		return evidence.Connection{From: edge.Endpoint{Addr: netip.MustParseAddr(address), Entity: entity}, To: web, Protocol: "TCP", Port: port, Evidence: &edge.Evidence{}}
	}
	connections := []evidence.Connection{from("10.0.0.1", "remote-node", 443), from("198.51.100.99", "world", 443)}
	connections[1].Accepted = &plan.Decision{Reason: "a friend"}
	for i := range 5 {
		connections = append(connections, from(fmt.Sprintf("198.51.100.%d", i+1), "world", 443))
	}
	for i := range fewVisitors {
		connections = append(connections, from(fmt.Sprintf("203.0.113.%d", i+1), "world", 80))
	}
	connections = append(connections, from("10.1.0.9", inventory.EntityIngress, 8080))
	got := connectionRisks(connections)
	if all := strings.Join(got, "\n"); strings.Count(all, "fromEntities") != 1 {
		t.Errorf("what is to know of a proxy of the CNI is not said once:\n%s", all)
	}
	crowds := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.HasPrefix(s, "5 addresses outside of the cluster reach") })
	if len(crowds) != 1 || !strings.Contains(crowds[0], "198.51.100.1, ") {
		t.Fatalf("%q", got)
	}
	for what, want := range map[string]int{"Enters from outside of pods: `remote-node 10.0.0.1": 1, "Enters from outside of pods: `198.51.100.": 1, "Enters from outside of pods: `203.0.113.": fewVisitors} {
		if n := strings.Count(strings.Join(got, "\n"), what); n != want {
			t.Errorf("%q is there %d times, want %d:\n%s", what, n, want, strings.Join(got, "\n"))
		}
	}
	_, decision, _ := strings.Cut(crowds[0], "`- ")
	decision, _, _ = strings.Cut(decision, "`")
	text := "apiVersion: bulkhead.dev/v1alpha1\nkind: Plan\ndecisions:\n- " + decision + "\n  reason: it is for everybody\n"
	if p, err := plan.Parse([]byte(text)); err != nil || len(p.Decisions) != 1 {
		t.Errorf("the decision cannot be pasted: %v\n%s", err, text)
	}
}
