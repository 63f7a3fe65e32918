// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// shrinkFor bounds the search for the smallest part of a trial that shows a disagreement.
const shrinkFor = time.Minute

// disagreement plays a trial again, with fewer packets and then with less of its clusters, for as long as datapath
// and reference disagree, and says what is left.
func (l *lab) disagreement(c *trial) error {
	deadline := time.Now().Add(shrinkFor)
	bad := func(c *trial) bool {
		if time.Now().After(deadline) {
			return false
		}
		problem, err := l.play(c)
		return err == nil && problem != ""
	}
	if !bad(c) {
		return errors.New("datapath and reference disagreed, and did not when all was played again")
	}
	small := *c
	small.shrinkPackets(bad)
	for world := range small.worlds {
		small.shrinkObjects(world, bad)
	}
	small.shrinkPackets(bad)
	problem, err := l.play(&small)
	return errors.Join(fmt.Errorf("%s\n%s", problem, small.describe()), err)
}

// shrinkPackets leaves out more and more of them at a time, from large parts to single ones.
func (c *trial) shrinkPackets(bad func(*trial) bool) {
	for size := max(1, len(c.sent)/2); size > 0; size /= 2 {
		for at := 0; at < len(c.sent); {
			fewer := *c
			fewer.sent = slices.Delete(slices.Clone(c.sent), at, min(at+size, len(c.sent)))
			if bad(&fewer) {
				c.sent = fewer.sent
			} else {
				at += size
			}
		}
	}
}

func (c *trial) shrinkObjects(world int, bad func(*trial) bool) {
	with := func(objects netpol.Objects) *trial {
		other := *c
		other.worlds = slices.Clone(c.worlds)
		other.worlds[world].objects, other.worlds[world].full = objects, nil
		return &other
	}
	c.worlds = with(random.Shrink(c.worlds[world].objects, func(o netpol.Objects) bool { return bad(with(o)) })).worlds
}

// play sends a trial's packets again and says where datapath and reference first disagree; empty: nowhere.
func (l *lab) play(c *trial) (problem string, err error) {
	if err := l.forget(); err != nil {
		return "", err
	}
	r, loaded := newReference(), -1
	for i, s := range c.sent {
		if s.world != loaded {
			m, err := c.load(l, c.worlds[s.world])
			if err != nil {
				return "", err
			}
			r.change(&m.moment)
			if _, _, err := l.DrainFlows(); err != nil {
				return "", err
			}
			loaded = s.world
		}
		before, err := l.counted()
		if err != nil {
			return "", err
		}
		clear(r.counts)
		clear(r.records)
		passed, want, err := l.ask(r, s.at, s.frame) // which was run before
		if err != nil {
			return "", err
		}
		now, err := l.counted()
		if err != nil {
			return "", err
		}
		if gained := gained(before, now); passed != want || !maps.Equal(gained, r.counts) {
			return fmt.Sprintf("packet %d: passed %v, want %v; counted %v, want %v", i+1, passed, want, gained, r.counts), nil
		}
		flows, _, err := l.DrainFlows()
		if err != nil {
			return "", err
		}
		if got := recorded(flows); !maps.Equal(got, r.records) {
			return fmt.Sprintf("packet %d: recorded %+v, want %+v", i+1, got, r.records), nil
		}
	}
	return "", nil
}

// counted are the datapath's counters.
func (l *lab) counted() (map[judgement]uint64, error) {
	counters, err := l.Counters()
	counts := map[judgement]uint64{}
	for r, n := range counters.Passed {
		counts[judgement{true, r}] = n
	}
	for r, n := range counters.Dropped {
		counts[judgement{false, r}] = n
	}
	return counts, err
}

// gained are the judgements that are counted more often now.
func gained(before, now map[judgement]uint64) map[judgement]int {
	gained := map[judgement]int{}
	for j, n := range now {
		if n > before[j] {
			gained[j] = int(n - before[j])
		}
	}
	return gained
}

func (j judgement) String() string { return fmt.Sprintf("%s, passed %v", j.reason, j.passes) }

// describe is everything that it takes to send the packets by hand.
func (c *trial) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n", c.node)
	printed := -1
	for _, s := range c.sent {
		if s.world != printed {
			printed = s.world
			state := c.worlds[s.world]
			text, err := random.YAML(state.objects)
			if err != nil {
				text = err.Error()
			}
			fmt.Fprintf(&b, "--- # world %d, devices %v, in mode audit: %v\n%s", s.world+1, state.devices, slices.Collect(maps.Keys(state.audited)), text)
		}
		fmt.Fprintf(&b, "%s of device %d: %x\n", s.at.hook, s.at.device, s.frame)
	}
	return b.String()
}
