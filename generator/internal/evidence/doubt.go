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
func (t *tried) hardlyUsed(c *finding, limit int) bool {
	if limit <= 0 || t.all <= limit {
		return false
	}
	pods := 1
	if w := c.to.workload; w != nil {
		pods = max(pods, len(w.Pods))
	}
	n, _ := c.evidence.Flows.Value()
	return n <= uint64(attempt*pods*(t.all/limit))
}

// tries are what one source tried: for each of its connections the ports at the same target, and the targets at the
// same port. They are filled again for the next source.
type tries struct {
	tried          []tried
	ports, targets []int // where in tried, for each connection
	at             map[service]int
}

type service struct {
	protocol corev1.Protocol
	port     uint16
}

func newTries() *tries { return &tries{at: map[service]int{}} }

// count counts the connections of one source; those of one target and protocol follow each other.
func (t *tries) count(all []finding, c *Criteria) {
	t.tried, t.ports, t.targets = t.tried[:0], t.ports[:0], t.targets[:0]
	clear(t.at)
	for i := range all {
		o := &all[i]
		if i == 0 || o.to != all[i-1].to || o.protocol != all[i-1].protocol {
			t.tried = append(t.tried, tried{})
			t.ports = append(t.ports, len(t.tried)-1)
		} else {
			t.ports = append(t.ports, t.ports[i-1])
		}
		at, known := t.at[service{o.protocol, o.port}]
		if !known {
			at = len(t.tried)
			t.tried, t.at[service{o.protocol, o.port}] = append(t.tried, tried{}), at
		}
		t.targets = append(t.targets, at)
		t.tried[t.ports[i]].all++
		t.tried[at].all++
	}
	for i := range all {
		if p := &t.tried[t.ports[i]]; p.hardlyUsed(&all[i], c.ScanPorts) {
			p.hard++
		}
		if a := &t.tried[t.targets[i]]; a.hardlyUsed(&all[i], c.ScanTargets) {
			a.hard++
		}
	}
}

// doubtOf says of all connections of one source why they are not learned, if they are not.
func (s *sorting) doubtOf(all []finding) {
	s.tries.count(all, &s.criteria)
	for i := range all {
		ports, targets := s.tries.tried[s.tries.ports[i]], s.tries.tried[s.tries.targets[i]]
		all[i].doubt = s.doubt(&all[i], ports, targets)
	}
}

func (s *sorting) doubt(o *finding, ports, targets tried) *doubt {
	c := &s.criteria
	switch {
	case o.denied:
		return &doubt{Denied, "accept it in the plan if it is wanted"}
	case ports.hard > c.ScanPorts && ports.hardlyUsed(o, c.ScanPorts):
		return &doubt{Scan, fmt.Sprintf("one of %d ports that were tried and hardly used", ports.hard)}
	case targets.hard > c.ScanTargets && targets.hardlyUsed(o, c.ScanTargets):
		return &doubt{Scan, fmt.Sprintf("one of %d targets that were tried and hardly used", targets.hard)}
	case !o.from.IsPod() && !inventory.OfCluster(o.from.Endpoint) && !s.inv.Published(o.to.Endpoint, o.protocol, o.port):
		if s.inv.Learned() != nil {
			return &doubt{Outside, "flows do not say whether a Service publishes it: accept it in the plan with the addresses that may come, such as world"}
		}
		return &doubt{Outside, "no Service publishes it: accept it in the plan with the addresses that may come, such as world"}
	case o.evidence.Flows.Below(c.MinFlows):
		return &doubt{OneOff, "observe for longer, or accept it in the plan"}
	case c.once(o, s.span.Length()):
		return &doubt{OneOff, fmt.Sprintf("all of it was seen within %s: observe for longer, or accept it in the plan", c.Occasion)}
	}
	return nil
}

// once reports whether a connection was seen on one occasion of many that there were.
func (c *Criteria) once(o *finding, span time.Duration) bool {
	const many = 60
	runs := o.from.Kind == "CronJob" || o.from.Kind == "Job"
	return c.MinFlows > 1 && !runs && span > many*c.Occasion && o.evidence.Last.Sub(o.evidence.First) < c.Occasion
}
