// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// In each random cluster, so many changes one after the other, and so many connections after each.
const (
	changesPerCluster = 12
	pairsPerChange    = 25
)

// moment is a snapshot, and what it said when it was made.
type moment struct {
	objs     netpol.Objects
	snapshot *netpol.Snapshot
	asked    []netpol.Connection
	said     []netpol.Verdict
}

// A snapshot that came by changes says what one that is compiled from the same objects says, and the
// changes leave the older ones as they are.
func TestApplyAgreesWithCompile(t *testing.T) {
	clusters := 600
	if testing.Short() {
		clusters = 60
	}
	for i := range clusters {
		g := random.New(*oracleSeed, uint64(i))
		checkHistory(t, i, g, g.Objects(), func(objs netpol.Objects, _ int) netpol.Change { return g.Change(objs) })
	}
	t.Logf("%d changes, %d connections", clusters*changesPerCluster, clusters*changesPerCluster*pairsPerChange)
}

// The same where there are many objects, most of which come and go at once.
func TestApplyAgreesWithCompileInCrowds(t *testing.T) {
	clusters := 8
	if testing.Short() {
		clusters = 2
	}
	for i := range clusters {
		g := random.New(*oracleSeed, uint64(i))
		checkHistory(t, i, g, g.Objects(), func(objs netpol.Objects, step int) netpol.Change {
			switch step % 4 {
			case 0:
				return netpol.Change{Set: random.Unique(g.Crowd(netpol.Objects{}, 60))}
			case 2:
				return g.Exodus(objs)
			}
			return g.Change(objs)
		})
	}
}

// checkHistory makes changes one after the other and asks the snapshot after each, and all of them again
// at the end.
func checkHistory(t *testing.T, cluster int, g *random.Generator, objs netpol.Objects, change func(objs netpol.Objects, step int) netpol.Change) {
	t.Helper()
	objs = random.Unique(objs)
	s, _ := netpol.Compile(objs)
	history := []moment{newMoment(g, objs, s)}
	for step := range changesPerCluster {
		last, c := history[len(history)-1], change(objs, step)
		next, err := last.snapshot.Apply(c)
		objs = random.Changed(objs, c)
		now := newMoment(g, objs, next)
		if what := now.differs(); what != "" {
			t.Fatalf("seed %d cluster %d change %d: %s\n%s", *oracleSeed, cluster, step, what, smallestChange(t, last.objs, c, now.asked))
		}
		if what := now.overlooks(&last); what != "" {
			t.Fatalf("seed %d cluster %d change %d: %s", *oracleSeed, cluster, step, what)
		}
		checkChangeErrors(t, c, err)
		history = append(history, now)
	}
	for step, then := range history {
		if what := then.forgets(); what != "" {
			t.Fatalf("seed %d cluster %d: the snapshot of change %d no longer says what it said: %s", *oracleSeed, cluster, step, what)
		}
	}
}

func newMoment(g *random.Generator, objs netpol.Objects, s *netpol.Snapshot) moment {
	m := moment{objs: objs, snapshot: s}
	if len(objs.Pods) == 0 {
		return m
	}
	for range pairsPerChange {
		c := g.Connection(objs)
		m.asked, m.said = append(m.asked, c), append(m.said, s.Evaluate(c))
	}
	return m
}

// forgets says which answer has changed since; empty for none.
func (m *moment) forgets() string { return compareVerdicts(m.snapshot, m.asked, m.said) }

// differs says in what the snapshot is not the one compiled from the objects; empty for nothing.
func (m *moment) differs() string {
	fresh, _ := netpol.Compile(m.objs)
	if what := compareVerdicts(fresh, m.asked, m.said); what != "" {
		return what
	}
	if got, want := peersIn(m.snapshot), peersIn(fresh); !slices.Equal(got, want) {
		return fmt.Sprintf("endpoints %v, want %v", got, want)
	}
	for _, pod := range m.objs.Pods {
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			got, want := m.snapshot.RuleSet(nameOf(pod), d), fresh.RuleSet(nameOf(pod), d)
			if got.Key() != want.Key() || got.Isolated != want.Isolated || !reflect.DeepEqual(origins(&got), origins(&want)) {
				return fmt.Sprintf("%s of %s: %v with key %q, want %v with key %q", d, nameOf(pod), origins(&got), got.Key(), origins(&want), want.Key())
			}
		}
		if got, want := m.snapshot.Endpoint(nameOf(pod)), fresh.Endpoint(nameOf(pod)); peerOf(got) != peerOf(want) {
			return fmt.Sprintf("the endpoint of %s is %v, want %v", nameOf(pod), peerOf(got), peerOf(want))
		}
	}
	return ""
}

func compareVerdicts(s *netpol.Snapshot, asked []netpol.Connection, said []netpol.Verdict) string {
	for i, c := range asked {
		if v := s.Evaluate(c); !reflect.DeepEqual(v, said[i]) {
			return fmt.Sprintf("%s -> %s %s/%d: %+v and %+v", peerText(c.From), peerText(c.To), c.Protocol, c.Port, v, said[i])
		}
	}
	return ""
}

// peersIn are the endpoints of pods, then those of nodes.
func peersIn(s *netpol.Snapshot) (all []netpol.Peer) {
	for e := range s.Endpoints() {
		all = append(all, peerOf(e))
	}
	for _, e := range s.NodeEndpoints() {
		all = append(all, peerOf(e))
	}
	return all
}

func origins(set *netpol.RuleSet) (all []netpol.Origin) {
	for _, by := range set.By {
		all = append(all, *by)
	}
	for _, tier := range set.Tiers {
		for _, r := range tier {
			all = append(all, r.Origin)
		}
	}
	return all
}

// checkChangeErrors: a change reports the faults of what it sets, and no others.
func checkChangeErrors(t *testing.T, c netpol.Change, got error) {
	t.Helper()
	_, want := netpol.Compile(c.Set)
	same := func(a, b *netpol.ObjectError) bool { return a.Object == b.Object && a.Path == b.Path }
	if !slices.EqualFunc(netpol.ObjectErrors(got), netpol.ObjectErrors(want), same) {
		t.Fatalf("the change reports %v, want %v", got, want)
	}
}

// smallestChange is the smallest cluster and change on which Apply and Compile disagree; what it is
// given if it took more than one change.
func smallestChange(t *testing.T, objs netpol.Objects, c netpol.Change, asked []netpol.Connection) string {
	t.Helper()
	bad := func(objs netpol.Objects, c netpol.Change) bool {
		before, _ := netpol.Compile(objs)
		after, _ := before.Apply(c)
		m := moment{objs: random.Changed(objs, c), snapshot: after, asked: asked}
		for _, connection := range asked {
			m.said = append(m.said, after.Evaluate(connection))
		}
		return m.differs() != ""
	}
	if !bad(objs, c) {
		return "not by this change alone\n" + dump(t, objs) + fmt.Sprintf("-- deleted %v, set --\n", c.Deleted) + dump(t, c.Set)
	}
	objs = random.Shrink(objs, func(o netpol.Objects) bool { return bad(o, c) })
	c.Set = random.Shrink(c.Set, func(o netpol.Objects) bool { return bad(objs, netpol.Change{Set: o, Deleted: c.Deleted}) })
	for i := len(c.Deleted) - 1; i >= 0; i-- {
		if fewer := (netpol.Change{Set: c.Set, Deleted: slices.Delete(slices.Clone(c.Deleted), i, i+1)}); bad(objs, fewer) {
			c = fewer
		}
	}
	return dump(t, objs) + fmt.Sprintf("-- deleted %v, set --\n", c.Deleted) + dump(t, c.Set)
}
