// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// Criteria say what is too odd to be learned without a person. What is zero is not looked at.
type Criteria struct {
	// MinFlows is how many records of a connection make it more than a one-off. Both sides of a connection count. With 1
	// or less nothing is a one-off.
	MinFlows uint64
	// Occasion is how long what was seen only within that time may have been one occasion: a one-off, unless it is a
	// Job's, or all that was observed is hardly longer.
	Occasion time.Duration
	// ScanPorts of one workload, or ScanTargets at one port, of which each was hardly used, are a scan if one end
	// tries more than so many.
	ScanPorts, ScanTargets int
}

// DefaultCriteria are what people expect: two records, and what a port scanner or a crawler exceeds at once.
func DefaultCriteria() Criteria {
	return Criteria{MinFlows: 2, Occasion: time.Minute, ScanPorts: 10, ScanTargets: 50}
}

// attempt is how many records of one pod are so few that they may be an attempt: those of a handshake that both sides
// report, and of its end.
const attempt = 6

// tried counts the ports that one end tries at another, or the targets that it tries at one port.
type tried struct {
	all  int
	hard int // of them hardly used
}

// hardlyUsed reports whether a connection is so little used that it may be one of many attempts. The more there are, the
// more often they may have been repeated.
func (t *tried) hardlyUsed(c *Candidate, inv *inventory.Inventory, limit int) bool {
	if limit <= 0 || t.all <= limit {
		return false
	}
	pods := 1
	if w := inv.Workload(c.To); w != nil {
		pods = max(pods, len(w.Pods))
	}
	n, _ := c.Evidence.Flows.Value()
	return n <= uint64(attempt*pods*(t.all/limit))
}

// doubt says of each connection why it is not learned, if it is not. Those of one source follow each other.
func (c Criteria) doubt(all []Candidate, inv *inventory.Inventory, span Span) {
	for begin := 0; begin < len(all); {
		end := begin + 1
		for end < len(all) && all[end].From == all[begin].From {
			end++
		}
		c.doubtOf(all[begin:end], inv, span)
		begin = end
	}
}

// knocks are what one source tried: for each of its connections the ports at the same target, and the targets at the
// same port.
type knocks struct{ ports, targets []*tried }

// knocksOf counts; those of one target and protocol follow each other.
func (c Criteria) knocksOf(all []Candidate, inv *inventory.Inventory) knocks {
	type service struct {
		protocol corev1.Protocol
		port     uint16
	}
	k, at := knocks{make([]*tried, len(all)), make([]*tried, len(all))}, map[service]*tried{}
	for i := range all {
		o := &all[i]
		if i > 0 && o.To == all[i-1].To && o.Protocol == all[i-1].Protocol {
			k.ports[i] = k.ports[i-1]
		} else {
			k.ports[i] = &tried{}
		}
		to := service{o.Protocol, o.Port}
		if at[to] == nil {
			at[to] = &tried{}
		}
		k.targets[i] = at[to]
		k.ports[i].all++
		k.targets[i].all++
	}
	for i := range all {
		if p := k.ports[i]; p.hardlyUsed(&all[i], inv, c.ScanPorts) {
			p.hard++
		}
		if t := k.targets[i]; t.hardlyUsed(&all[i], inv, c.ScanTargets) {
			t.hard++
		}
	}
	return k
}

// doubtOf says so of all connections of one source.
func (c Criteria) doubtOf(all []Candidate, inv *inventory.Inventory, span Span) {
	tries := c.knocksOf(all, inv)
	for i := range all {
		o, p, t := &all[i], tries.ports[i], tries.targets[i]
		switch {
		case o.Denied:
			o.Doubt, o.Detail = Denied, "accept it in the plan if it is wanted"
		case p.hard > c.ScanPorts && p.hardlyUsed(o, inv, c.ScanPorts):
			o.Doubt, o.Detail = Scan, fmt.Sprintf("one of %d ports that were tried and hardly used", p.hard)
		case t.hard > c.ScanTargets && t.hardlyUsed(o, inv, c.ScanTargets):
			o.Doubt, o.Detail = Scan, fmt.Sprintf("one of %d targets that were tried and hardly used", t.hard)
		case !o.From.IsPod() && !inventory.OfCluster(o.From) && !inv.Published(o.To, o.Protocol, o.Port):
			o.Doubt, o.Detail = Outside, "no Service publishes it: accept it in the plan with the addresses that may come, such as world"
			if inv.Learned() != nil {
				o.Detail = "flows do not say whether a Service publishes it: accept it in the plan with the addresses that may come, such as world"
			}
		case o.Evidence.Flows.Below(c.MinFlows):
			o.Doubt, o.Detail = OneOff, "observe for longer, or accept it in the plan"
		case c.once(o, span.Length()):
			o.Doubt, o.Detail = OneOff, fmt.Sprintf("all of it was seen within %s: observe for longer, or accept it in the plan", c.Occasion)
		}
	}
}

// once reports whether a connection was seen on one occasion of many that there were.
func (c Criteria) once(o *Candidate, span time.Duration) bool {
	const many = 60
	runs := o.From.Kind == "CronJob" || o.From.Kind == "Job"
	return c.MinFlows > 1 && !runs && span > many*c.Occasion && o.Evidence.Last.Sub(o.Evidence.First) < c.Occasion
}
