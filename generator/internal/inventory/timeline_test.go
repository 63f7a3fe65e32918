// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTimeline compares the sweep with the rule, asked for each moment by itself.
func TestTimeline(t *testing.T) {
	const second = int64(time.Second)
	owned := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		var tenants []*tenant
		for range 1 + r.IntN(5) {
			p := &tenant{}
			for range r.IntN(6) {
				at := r.Int64N(2000) * second / 2
				p.proofs, _ = union(p.proofs, span{at, at}, silence)
			}
			if r.IntN(3) == 0 {
				from := r.Int64N(1000) * second
				p.seen, _ = union(p.seen, span{from, from + 60*second}, 0)
			}
			for range r.IntN(3) {
				from := r.Int64N(1000) * second
				l := &life{from: from, sure: from + second, until: forever, alive: r.IntN(4) > 0, taken: forever}
				switch r.IntN(3) {
				case 0:
					l.until = from + r.Int64N(200)*second
				case 1:
					l.taken = from + 500*second
				}
				p.lives = append(p.lives, l)
			}
			tenants = append(tenants, p)
		}
		line := timeline(tenants)
		for at := -5 * second; at < 1100*second; at += second/2 + 1 {
			got, want := owner(line, at, at), byRule(tenants, at)
			if got != want {
				t.Fatalf("seed %d, at %s: %d, want %d", seed, time.Duration(at), got, want)
			}
			if got != nobody {
				owned++
			}
		}
		if whole := owner(line, never, forever); whole != nobody {
			t.Errorf("seed %d: tenant %d had the address since the beginning of time", seed, whole)
		}
	}
	if owned < 1000 {
		t.Errorf("only %d moments have an owner", owned)
	}
}

func byRule(tenants []*tenant, at int64) int {
	starts := startsOf(tenants)
	within := func(list []span, margin time.Duration) bool {
		return slices.ContainsFunc(list, func(s span) bool { return later(s.from, -margin) <= at && at <= later(s.until, margin) })
	}
	found := nobody
	for i, p := range tenants {
		certain, possible := slices.Clone(p.proofs), slices.Concat(p.proofs, p.seen)
		for _, l := range p.lives {
			sure, maybe := p.stay(l, i, starts)
			certain, possible = append(certain, sure), append(possible, maybe)
		}
		switch {
		case !within(possible, skew):
		case found != nobody || !within(certain, -skew):
			return nobody
		default:
			found = i
		}
	}
	return found
}
