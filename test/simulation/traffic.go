// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// end is one end of a connection.
type end struct {
	addr  netip.Addr
	pod   *pod     // nil: not a pod with an address of its own
	node  *node    // of the pod, or whose address it is; nil: outside
	names []string // that resolve to the address
	// behind is whose packets come from a Service's address; nil: the address is not one, or that is not known.
	behind *end
}

func endOf(p *pod) end {
	if p.hostNetwork() {
		return p.node.end()
	}
	return end{addr: p.addr, pod: p, node: p.node}
}

func (n *node) end() end { return end{addr: n.addr, node: n} }

// outcome is what becomes of a connection.
type outcome int

const (
	answered outcome = iota
	unanswered
	refused // nobody listens
	denied  // by a policy
	late    // no connection, but an answer that is taken for one
)

// connection is one connection, or one exchange of a protocol that has none.
type connection struct {
	at               time.Time
	from, to         end
	protocol         corev1.Protocol // empty: ICMP
	fromPort, toPort uint16
	service          *service // whose address was dialled, at servicePort; nil: none
	servicePort      uint16
	outcome          outcome
}

// traffic expands edges into connections.
type traffic struct {
	*cluster
	ledger      *ledger
	connections []*connection
}

// open adds a connection.
func (t *traffic) open(r *rand.Rand, c connection) {
	if c.protocol != "" {
		c.fromPort = uint16(32768 + r.IntN(28232)) // Linux's range
	}
	t.connections = append(t.connections, &c)
	if t.Mistracked > 0 && c.protocol == corev1.ProtocolTCP && c.outcome == answered && c.from.pod != nil && r.Float64() < t.Mistracked {
		const forgotten = 15 * time.Second
		answer := connection{at: c.at.Add(forgotten), from: c.to, to: c.from, protocol: c.protocol, fromPort: c.toPort, toPort: c.fromPort, outcome: late}
		t.connections = append(t.connections, &answer)
	}
}

func (t *traffic) edge(e edge) error {
	r := t.stream("edge", e.String())
	if e.Chance > 0 && r.Float64() >= e.Chance {
		return nil
	}
	to, err := t.app.destinations(e)
	if err != nil {
		return err
	}
	for _, a := range t.arrivals(r, e) {
		c := connection{at: a.at, from: a.from, protocol: e.Protocol, toPort: e.Port}
		if e.OneWay {
			c.outcome = unanswered
		}
		if name, ok := strings.CutPrefix(e.To, toService); ok {
			if c.service, err = t.app.service(name); err != nil {
				return err
			}
			c.servicePort = e.Port
			if c.service.headless() {
				c.service = nil // its name stands for the pods' addresses
			}
		}
		if t.choose(r, e, to, &c) {
			c.inside()
			t.ledger.use(&c)
			t.open(r, c)
		}
	}
	return nil
}

// arrival is who opens a connection when.
type arrival struct {
	at   time.Time
	from end
}

func (t *traffic) arrivals(r *rand.Rand, e edge) (all []arrival) {
	w, _ := t.app.workload(e.From) // nil: no pod; the edge was checked
	if w != nil && w.kind == cronJob {
		for _, p := range t.of[w] {
			for i := range e.PerRun {
				all = append(all, arrival{p.start.Add(time.Duration(i+1) * 2 * time.Second), endOf(p)})
			}
		}
		return all
	}
	perHour := e.PerHour * t.Rate
	for at := t.Start.Add(gap(r, perHour)); at.Before(t.end); at = at.Add(gap(r, perHour)) {
		if from, ok := t.opener(r, e, w, at); ok {
			all = append(all, arrival{at, from})
		}
	}
	return all
}

// gap is the time to the next of what happens so often.
func gap(r *rand.Rand, perHour float64) time.Duration {
	return time.Duration(r.ExpFloat64() / perHour * float64(time.Hour)).Truncate(time.Microsecond)
}

// opener is who opens a connection at a time; false: nobody can.
func (t *traffic) opener(r *rand.Rand, e edge, w *workload, at time.Time) (end, bool) {
	if name, ok := cutExternal(e.From); ok {
		x := t.app.externals[name]
		return end{addr: pick(r, x.Addresses), names: x.Names}, true
	}
	if e.From == controller {
		return t.controlPlane().end(), true
	}
	alive := t.alive(w, at)
	if len(alive) == 0 {
		return end{}, false
	}
	return endOf(pick(r, alive)), true
}

// choose sets the other end, and what became of the first on the way; false: nobody is there.
func (t *traffic) choose(r *rand.Rand, e edge, to []destination, c *connection) bool {
	if name, ok := cutExternal(e.To); ok {
		x := t.app.externals[name]
		c.to = end{addr: pick(r, x.Addresses), names: x.Names}
		return true
	}
	if e.To == controller {
		c.to, c.servicePort = t.controlPlane().end(), apiServerPort
		c.service, _ = t.app.service(apiServer) // the system has it
		return true
	}
	type candidate struct {
		*pod
		port uint16
	}
	var candidates []candidate
	for _, d := range to {
		for _, p := range t.alive(d.workload, c.at) {
			if p != c.from.pod {
				candidates = append(candidates, candidate{p, d.port})
			}
		}
	}
	if len(candidates) == 0 {
		return false
	}
	chosen := pick(r, candidates)
	c.to, c.toPort = endOf(chosen.pod), chosen.port
	if c.from.node == nil {
		t.enter(r, c)
	}
	return true
}

// enter is the way of a client outside through a node: with its own address only if the Service asks for that.
func (t *traffic) enter(r *rand.Rand, c *connection) {
	snat := c.service.snat()
	c.service = nil // translated before any pod's side is observed
	if snat {
		c.from = pick(r, t.workers()).end()
	}
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }
