// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Edge is a true edge after translation: what a policy must allow for it to work.
type Edge struct {
	// From and To are a workload, "Deployment shop/api", or an address, "203.0.113.7".
	From     string          `json:"from"`
	To       string          `json:"to"`
	Protocol corev1.Protocol `json:"protocol"`
	Port     uint16          `json:"port"` // at the destination's pod or host
}

// Compare orders edges by their ends, protocol and port.
func (e Edge) Compare(o Edge) int {
	return cmp.Or(cmp.Compare(e.From, o.From), cmp.Compare(e.To, o.To), cmp.Compare(e.Protocol, o.Protocol), cmp.Compare(e.Port, o.Port))
}

// Truth is what the simulated pods truly did, and might have done. What the cluster gives to every pod is not in it:
// DNS, and the kubelet's probes.
type Truth struct {
	Exercised   []Edge `json:"exercised"`
	Unexercised []Edge `json:"unexercised"`
}

// ledger knows which of the possible edges were used.
type ledger struct{ used map[Edge]bool }

func (l *ledger) use(c *connection) {
	// From a pod's own node nothing needs to be allowed.
	if c.from.pod == nil && c.from.node != nil && c.from.node == c.to.node {
		return
	}
	l.used[Edge{c.from.word(), c.to.word(), c.protocol, c.toPort}] = true
}

func (e end) word() string {
	if e.pod != nil {
		return e.pod.workload.String()
	}
	return e.addr.String()
}

func (l *ledger) truth() Truth {
	t := Truth{Exercised: []Edge{}, Unexercised: []Edge{}}
	for e, used := range l.used {
		if used {
			t.Exercised = append(t.Exercised, e)
		} else {
			t.Unexercised = append(t.Unexercised, e)
		}
	}
	slices.SortFunc(t.Exercised, Edge.Compare)
	slices.SortFunc(t.Unexercised, Edge.Compare)
	return t
}

// possible enters every edge that the application's own list allows for, as not used.
func (l *ledger) possible(c *cluster) error {
	for _, e := range c.app.edges {
		to, err := c.app.destinations(e)
		if err != nil {
			return err
		}
		for _, from := range c.sources(e) {
			for _, t := range c.targets(e, to) {
				l.used[Edge{from, t.To, e.Protocol, t.Port}] = false
			}
		}
	}
	return nil
}

// sources are the words for all ends that can open an edge's connections, as pods see them.
func (c *cluster) sources(e edge) (words []string) {
	name, outside := cutExternal(e.From)
	w, _ := c.app.workload(e.From) // nil: no workload
	switch {
	case e.From == controller:
		return []string{c.controlPlane().inner.String()}
	case w != nil && !w.hostNetwork():
		return []string{w.String()}
	case outside && !c.entersWithNode(e):
		for _, a := range c.app.externals[name].Addresses {
			words = append(words, a.String())
		}
		return words
	}
	for _, n := range c.workers() {
		words = append(words, n.inner.String())
	}
	return words
}

// entersWithNode says whether an edge from outside arrives with a node's address.
func (c *cluster) entersWithNode(e edge) bool {
	s, err := c.app.service(strings.TrimPrefix(e.To, toService))
	return err == nil && s.snat()
}

// targets are all ends at which an edge's connections can arrive; From is empty.
func (c *cluster) targets(e edge, to []destination) (targets []Edge) {
	add := func(word string, port uint16) { targets = append(targets, Edge{To: word, Port: port}) }
	if name, ok := cutExternal(e.To); ok {
		for _, a := range c.app.externals[name].Addresses {
			add(a.String(), e.Port)
		}
	}
	for _, d := range to {
		if !d.hostNetwork() {
			add(d.workload.String(), d.port)
			continue
		}
		for _, n := range c.workers() {
			add(n.addr.String(), d.port)
		}
	}
	if e.To == controller {
		add(c.controlPlane().addr.String(), e.Port)
	}
	return targets
}
