// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
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

type knock struct {
	from, to edge.Endpoint // to is empty where targets are counted
	protocol corev1.Protocol
	port     uint16 // 0 where ports are counted
}

// tried counts the ports that one end tries at another, or the targets that it tries at one port.
type tried struct {
	all  int
	hard int // of them hardly used
}

// hardlyUsed reports whether a connection is so little used that it may be one of many attempts. The more there are, the
// more often they may have been repeated.
func (t *tried) hardlyUsed(c *Candidate, inv *inventory.Inventory, limit int) bool {
	pods := 1
	if w := inv.Workload(c.To); w != nil {
		pods = max(pods, len(w.Pods))
	}
	n, _ := c.Evidence.Flows.Value()
	return limit > 0 && t.all > limit && n <= uint64(attempt*pods*(t.all/limit))
}

// doubt says of each connection why it is not learned, if it is not.
func (c Criteria) doubt(all []Candidate, inv *inventory.Inventory, span Span) {
	ports, targets := map[knock]*tried{}, map[knock]*tried{}
	count := func(of map[knock]*tried, k knock) *tried {
		if of[k] == nil {
			of[k] = &tried{}
		}
		return of[k]
	}
	portsOf := func(o *Candidate) *tried { return count(ports, knock{from: o.From, to: o.To, protocol: o.Protocol}) }
	targetsOf := func(o *Candidate) *tried {
		return count(targets, knock{from: o.From, protocol: o.Protocol, port: o.Port})
	}
	for i := range all {
		portsOf(&all[i]).all++
		targetsOf(&all[i]).all++
	}
	for i := range all {
		if p := portsOf(&all[i]); p.hardlyUsed(&all[i], inv, c.ScanPorts) {
			p.hard++
		}
		if t := targetsOf(&all[i]); t.hardlyUsed(&all[i], inv, c.ScanTargets) {
			t.hard++
		}
	}
	for i := range all {
		o := &all[i]
		n, _ := o.Evidence.Flows.Value()
		p, t := portsOf(o), targetsOf(o)
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
		case n < c.MinFlows:
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
