// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// policySet is what governs pods of the same policies. It never changes.
type policySet struct {
	of      rules
	entry   SetEntry
	rows    [2][]row
	asks    [2][]ask
	origins setOrigins
}

// saysWhat reports whether two sets have the same rules in the same order, wherever these come from.
func (s *policySet) saysWhat(other *policySet) bool {
	if s.entry != other.entry {
		return false
	}
	for d := range s.rows {
		if !slices.EqualFunc(s.rows[d], other.rows[d], row.matchesAlike) {
			return false
		}
	}
	return true
}

// matchesAlike compares what SetEntry does not have: peers and ports.
func (r row) matchesAlike(other row) bool {
	return r.named == other.named && slices.Equal(r.peers, other.peers) && slices.Equal(r.ports, other.ports)
}

// row is one numbered rule of a set: a bit of the bitmaps. A rule takes several when it names ports
// that differ between the peers.
type row struct {
	origin   *netpol.Origin
	action   netpol.Action
	everyone bool
	peers    []int // predicates; one of them must hold
	named    int   // predicate on the peer's named port that must hold as well; none: there is none
	allPorts bool  // every protocol and port
	ports    []portRange
}

// none is no predicate.
const none = -1

// ask is a question that decides whether a row matches a peer: both predicates must hold.
type ask struct {
	row       int
	predicate int
	also      int // none: the one is enough
}

// asks are the questions of rows that do not match whatever peer.
func asks(rows []row) (all []ask) {
	for i := range rows {
		r := &rows[i]
		if r.everyone && r.named != none {
			all = append(all, ask{i, r.named, none})
		}
		if !r.everyone {
			for _, p := range r.peers {
				all = append(all, ask{i, p, r.named})
			}
		}
	}
	return all
}

type portRange struct {
	protocol Protocol
	from, to uint16
}

// rules are what governs a pod, by direction.
type rules [2]netpol.RuleSet

func rulesOf(snap *netpol.Snapshot, pod types.NamespacedName) rules {
	return rules{snap.RuleSet(pod, netpol.Ingress), snap.RuleSet(pod, netpol.Egress)}
}

// closed isolates both ways and allows nothing.
var closed = rules{{Isolated: true}, {Isolated: true}}

// live is the number of the set that a pod is under: that of its policies or, if they do not fit, of those that it
// had before. A pod that had none is denied everything.
func (t *tables) live(pod types.NamespacedName) (uint32, error) {
	now := rulesOf(t.snap, pod)
	set, err := t.set(now, pod)
	if err == nil {
		t.fitting[pod] = now
		return set, nil
	}
	t.new.world.Unfit = append(t.new.world.Unfit, err)
	before, found := t.before[pod]
	if found {
		set, err = t.set(before, pod)
	}
	if !found || err != nil {
		return t.set(closed, pod)
	}
	t.fitting[pod] = before
	return set, nil
}

// set is the number of the policy set of rules that govern a pod. Pods with the same policies share one.
func (t *tables) set(directions rules, pod types.NamespacedName) (uint32, error) {
	self := t.snap.Endpoint(pod)
	key := t.key(&directions, self)
	if n, ok := t.byKey[key]; ok {
		return n, nil
	}
	s := &policySet{of: directions}
	for d := range directions {
		direction, rs := netpol.Direction(d), &directions[d]
		admin := t.lowerRules(rs.Tiers[netpol.Admin], direction, self)
		rows := append(admin, t.lowerRules(afterAdmin(rs), direction, self)...)
		if err := fits(pod, direction, rows); err != nil {
			return 0, err
		}
		s.rows[d], s.asks[d] = rows, asks(rows)
		s.entry.Isolated[d], s.entry.Admin[d] = rs.Isolated, uint16(len(admin))
		s.entry.addRows(direction, rows)
		s.origins.add(direction, rows, rs.By)
	}
	n := t.firstSet + uint32(len(t.sets))
	t.byKey[key] = n
	t.sets = append(t.sets, s)
	t.new.world.Sets = append(t.new.world.Sets, s.entry)
	t.new.world.origins = append(t.new.world.origins, s.origins)
	return n, nil
}

// fits errs for a set with more rules than a bitmap has room for.
func fits(pod types.NamespacedName, d netpol.Direction, rows []row) error {
	if len(rows) <= MaxRules {
		return nil
	}
	return fmt.Errorf("pod %s: %s has %d rules, more than the %d that fit; merge policies or rules that select it", pod, d, len(rows), MaxRules)
}

// key tells apart what policy sets are made of: compiled policies, which the set keeps, so that their addresses
// are not used again; and the numbers behind the names of ports, which depend on pods.
func (t *tables) key(directions *rules, self netpol.Endpoint) string {
	var b strings.Builder
	for d := range directions {
		rs := &directions[d]
		for _, o := range rs.By {
			fmt.Fprintf(&b, "%x ", reflect.ValueOf(o).Pointer())
		}
		fmt.Fprintf(&b, "%t|", rs.Isolated) // what is closed is so by no policy
		for _, rules := range [][]*netpol.Rule{rs.Tiers[netpol.Admin], afterAdmin(rs)} {
			for _, r := range rules {
				fmt.Fprintf(&b, "%x ", reflect.ValueOf(r).Pointer())
				t.nameKey(&b, netpol.Direction(d), r, self)
			}
			b.WriteByte('|')
		}
	}
	return b.String()
}

func (t *tables) nameKey(b *strings.Builder, d netpol.Direction, r *netpol.Rule, self netpol.Endpoint) {
	for i := range r.Ports {
		switch p := &r.Ports[i]; {
		case p.Name == "":
		case d == netpol.Ingress:
			fmt.Fprintf(b, "%v", namedPorts(self, p))
		default:
			fmt.Fprintf(b, "%v", t.namedAnywhere(p))
		}
	}
}

// afterAdmin are the rules that are asked after those of the Admin tier. Of the two tiers that are
// left, one alone can be: isolation by a NetworkPolicy decides before Baseline is asked.
func afterAdmin(rs *netpol.RuleSet) []*netpol.Rule {
	if rs.Isolated {
		return rs.Tiers[netpol.NetworkPolicies]
	}
	return rs.Tiers[netpol.Baseline]
}

func (s *SetEntry) addRows(d netpol.Direction, rows []row) {
	s.Rules[d] = uint16(len(rows))
	for i := range rows {
		switch rows[i].action {
		case netpol.Deny:
			s.Deny[d].Set(i)
		case netpol.Pass:
			s.Pass[d].Set(i)
		}
		if rows[i].everyone && rows[i].named == none {
			s.Everyone[d].Set(i)
		}
		if rows[i].allPorts {
			s.AllPorts[d].Set(i)
		}
	}
}

func (o *setOrigins) add(d netpol.Direction, rows []row, by []*netpol.Origin) {
	o.by[d] = by
	for i := range rows {
		o.rules[d] = append(o.rules[d], rows[i].origin)
	}
}
