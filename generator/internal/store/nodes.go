// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

const (
	// maxNodes bounds the nodes of one day; the largest clusters have 5,000. Further ones are counted as one without a name.
	maxNodes = 8192
	// nodesEvery is how often the counts of nodes are written, which are large where there are many nodes. A crash loses what
	// was counted since, of what was read and of what was lost.
	nodesEvery = time.Minute
)

// nodes are the counts of nodes by day (UTC) and name, of two weeks only.
type nodes struct {
	days    map[string]map[string]*nodeTally
	today   map[string]*nodeTally // of the last day that was counted on; nil: it is to be looked up
	changed bool                  // since it was written
	written time.Time             // when that was
}

// nodeTally is how many flows a node reported, and how many it lost: [2]uint64{reported, lost}.
type nodeTally [2]uint64

func newNodes() nodes { return nodes{days: map[string]map[string]*nodeTally{}} }

// on goes on to a day. Those make room that are the farthest from it: they are too old to count, or of a clock that was
// wrong. A clock that jumps once takes the room of one day that is too old.
func (n *nodes) on(now time.Time) {
	day := dayOf(now)
	if n.days[day] == nil {
		n.days[day] = map[string]*nodeTally{}
		for len(n.days) > 2*recent {
			delete(n.days, slices.MaxFunc(slices.Sorted(maps.Keys(n.days)), func(a, b string) int {
				return cmp.Compare(distance(a, now), distance(b, now))
			}))
		}
	}
	n.today = n.days[day]
}

// distance is the time between a day and a moment. What is no day is the farthest.
func distance(day string, now time.Time) time.Duration {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return math.MaxInt64
	}
	return now.Sub(at).Abs()
}

func (n *nodes) add(l flows.NodeLoss) {
	t := n.today[l.Node]
	if t == nil {
		if len(n.today) >= maxNodes {
			l.Node = ""
		}
		if t = n.today[l.Node]; t == nil {
			t = new(nodeTally)
			n.today[l.Node] = t
		}
	}
	t[0], t[1], n.changed = t[0]+l.Flows, t[1]+l.Lost, true
}

// sum is what nodes counted on some days, ordered by name.
func (n *nodes) sum(days map[string]bool) (out []flows.NodeLoss) {
	all := map[string]nodeTally{}
	for day := range days {
		for node, t := range n.days[day] {
			sum := all[node]
			all[node] = nodeTally{sum[0] + t[0], sum[1] + t[1]}
		}
	}
	for _, node := range slices.Sorted(maps.Keys(all)) {
		out = append(out, flows.NodeLoss{Node: node, Flows: all[node][0], Lost: all[node][1]})
	}
	return out
}

// marshal is what is to be written now; nil: nothing is.
func (n *nodes) marshal(now time.Time, all bool) ([]byte, error) {
	if !n.changed || !all && now.Sub(n.written) < nodesEvery {
		return nil, nil
	}
	n.changed, n.written = false, now
	return json.Marshal(n.days)
}

// load reads what was written; nil: nothing was.
func (n *nodes) load(data []byte) error {
	if data == nil {
		return nil // an earlier version's file
	}
	if err := json.Unmarshal(data, &n.days); err != nil {
		return err
	}
	for _, day := range n.days {
		maps.DeleteFunc(day, func(_ string, t *nodeTally) bool { return t == nil })
	}
	maps.DeleteFunc(n.days, func(_ string, day map[string]*nodeTally) bool { return day == nil })
	if n.days == nil {
		*n = newNodes()
	}
	return nil
}

// WorstNode is the node that lost the largest part of its flows, by the days that Loss judges by; zero: there is none.
func (s *Store) WorstNode(now time.Time) flows.NodeLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	week, days := flows.WorstOf(s.nodes.sum(s.days(now, recent))), flows.WorstOf(s.nodes.sum(s.days(now, latest)))
	if days.Share() > week.Share() {
		return days
	}
	return week
}

// LostAt are the nodes that lost flows within the last seven days, the most first. The name is empty where it is not known.
func (s *Store) LostAt(now time.Time) []flows.NodeLoss {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.nodes.sum(s.days(now, recent))
	out = slices.DeleteFunc(out, func(l flows.NodeLoss) bool { return l.Lost == 0 })
	slices.SortStableFunc(out, func(a, b flows.NodeLoss) int { return cmp.Compare(b.Lost, a.Lost) })
	return out
}
