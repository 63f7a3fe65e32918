// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// observe turns connections into what observers print, in the order in which they do.
func (c *cluster) observe(connections []*connection) []sight {
	slices.SortStableFunc(connections, func(a, b *connection) int { return a.at.Compare(b.at) })
	o := watcher{Options: c.Options, random: c.stream("observers"), lost: map[*node]uint64{}}
	for _, conn := range connections {
		for _, p := range conn.packets() {
			for _, s := range c.look(p) {
				o.print(s)
			}
		}
	}
	slices.SortStableFunc(o.printed, func(a, b sight) int { return cmp.Compare(a.printed.UnixNano(), b.printed.UnixNano()) })
	return o.printed
}

// watcher is all nodes' observers together.
type watcher struct {
	Options
	random  *rand.Rand
	printed []sight
	lost    map[*node]uint64 // since the last report
}

// busyLoss is the part that a busy node lost in a public report.
const busyLoss = 0.84

func (o *watcher) print(s sight) {
	s.at = s.at.Add(s.on.skew)
	s.uuid = newUUID(o.random)
	if o.loses(s) {
		return
	}
	s.printed = s.at
	if o.Disorder > 0 {
		s.printed = s.printed.Add(time.Duration(o.random.Int64N(int64(o.Disorder))))
	}
	o.printed = append(o.printed, s)
	if o.Duplicates > 0 && o.random.Float64() < o.Duplicates {
		o.printed = append(o.printed, s)
	}
}

func (o *watcher) loses(s sight) bool {
	if o.Loss.Handshakes && (s.opening || s.event == policyVerdictEvent || s.event == socketEvent) && s.outcome == answered {
		return true
	}
	if o.Loss.Rate > 0 && o.random.Float64() < o.Loss.Rate {
		return true
	}
	if !o.Loss.BusyNode || s.on.index != 0 {
		return false
	}
	if o.random.Float64() < busyLoss {
		o.lost[s.on]++
		return true
	}
	const reportEvery = 50 // flows
	if o.lost[s.on] >= reportEvery {
		report := s
		report.printed, report.lost = s.at, o.lost[s.on]
		o.printed = append(o.printed, report)
		o.lost[s.on] = 0
	}
	return false
}
