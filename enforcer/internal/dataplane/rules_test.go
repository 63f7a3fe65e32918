// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// testRule matches by class of peer and of port.
type testRule struct {
	action       netpol.Action
	peers, ports [4]bool
}

// classes are those of a question's remote and port.
type classes struct {
	peer uint32
	port uint16
}

// TestRandomRules compares the datapath with a walk over the rules, one after the other, where their numbers lie
// at and around the ends of words and tiers.
func TestRandomRules(t *testing.T) {
	d := newDataplane(t)
	reached := map[string]int{}
	questions := randomRulesQuestions()
	for seed := range uint64(50) {
		w, rules := randomRules(rand.New(rand.NewPCG(seed, 1)))
		load(t, d, w)
		passed := map[question]bool{}
		for q := range questions {
			passed[q] = d.ask(t, netip.MustParseAddr(v4.pod), q)
		}
		got := d.answers(t, len(questions))
		for q, of := range questions {
			reason, rule, way := walk(&w.Sets[0], rules[q.direction], q.direction, of)
			reached[way]++
			allowed := reason == ByRule || reason == ByNoIsolation
			if passed[q] != allowed {
				t.Errorf("seed %d, %+v: passed %v, want %s %d", seed, q, passed[q], reason, rule)
			}
			if f, found := got[q]; found && (f.Reason != reason || f.Rule != rule || f.Verdict != verdictOf(allowed, plan.Enforce)) {
				t.Errorf("seed %d, %+v: %s by %s %d, want %s %d", seed, q, f.Verdict, f.Reason, f.Rule, reason, rule)
			}
		}
	}
	for _, way := range []string{
		"rule", "deny-rule", "isolation", "no-isolation",
		"pass, rule", "pass, deny-rule", "pass, isolation", "pass, no-isolation", "pass, pass, no-isolation",
	} {
		if reached[way] == 0 {
			t.Errorf("no decision by way of %s: %v", way, reached)
		}
	}
}

// randomRulesQuestions are about every class of peer and of TCP port in the test world.
func randomRulesQuestions() map[question]classes {
	questions := map[question]classes{}
	for peer, remote := range map[uint32]string{friends: v4.friend, strangers: v4.stranger, internet: v4.internet} {
		for class, port := range map[uint16]uint16{0: 7, 1: webPort, 2: tlsPort} {
			for _, direction := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
				questions[question{direction, netip.MustParseAddr(remote), tcp, port}] = classes{peer, class}
			}
		}
	}
	return questions
}

// randomRules is the test world with other rules.
func randomRules(r *rand.Rand) (*plan.World, [2][]testRule) {
	w := newWorld(plan.Enforce)
	w.Peers, w.Ports, w.Sets = map[plan.PeerKey]plan.Bitmap{}, map[plan.PortKey]plan.Bitmap{}, []plan.SetEntry{{}}
	set, rules := &w.Sets[0], [2][]testRule{}
	for d := range rules {
		sizes := []int{0, 1, 2, 63, 64, 65, 128, 129, 1023, 1024}
		n := sizes[r.IntN(len(sizes))]
		ends := []int{0, 1, n / 2, 63, 64, 65, n}
		admin := min(n, ends[r.IntN(len(ends))])
		set.Isolated[d], set.Rules[d], set.Admin[d] = r.IntN(2) == 0, uint16(n), uint16(admin)
		for i := range n {
			rule := testRule{}
			if i < admin || !set.Isolated[d] {
				rule.action = netpol.Action(r.IntN(3))
			}
			for class := range uint32(4) {
				rule.peers[class] = r.IntN(n) < 3 || (i == 0 || i == admin) && r.IntN(2) == 0
				rule.ports[class] = r.IntN(2) == 0
			}
			rules[d] = append(rules[d], rule)
			addRule(w, netpol.Direction(d), i, &rule)
		}
	}
	return w, rules
}

func addRule(w *plan.World, d netpol.Direction, i int, rule *testRule) {
	for class := range uint32(4) {
		if rule.peers[class] {
			allow(w, d, i, class)
		}
	}
	for class := range uint16(4) {
		if rule.ports[class] {
			key := plan.PortKey{Class: class, Direction: d}
			bits := w.Ports[key]
			bits.Set(i)
			w.Ports[key] = bits
		}
	}
	switch rule.action {
	case netpol.Deny:
		w.Sets[0].Deny[d].Set(i)
	case netpol.Pass:
		w.Sets[0].Pass[d].Set(i)
	}
}

// walk asks the rules in turn; way lists what happened.
func walk(set *plan.SetEntry, rules []testRule, d netpol.Direction, of classes) (reason Reason, rule int, way string) {
	admin := int(set.Admin[d])
	for i := 0; i < len(rules); i++ {
		switch r := &rules[i]; {
		case !r.peers[of.peer] || !r.ports[of.port]:
		case r.action == netpol.Allow:
			return ByRule, i, way + ByRule.String()
		case r.action == netpol.Deny:
			return ByDenyRule, i, way + ByDenyRule.String()
		case i < admin:
			way, i = way+"pass, ", admin-1
		default:
			way, i = way+"pass, ", len(rules)
		}
	}
	reason = ByNoIsolation
	if set.Isolated[d] {
		reason = ByIsolation
	}
	return reason, -1, way + reason.String()
}
