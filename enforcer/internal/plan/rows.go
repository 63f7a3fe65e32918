// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// lowerRules turns rules into rows, in order.
func (b *builder) lowerRules(rules []*netpol.Rule, d netpol.Direction, self netpol.Endpoint) []row {
	var rows []row
	for _, r := range rules {
		base := row{origin: &r.Origin, everyone: len(r.Peers) == 0, named: -1, allPorts: len(r.Ports) == 0}
		for i := range r.Peers {
			m := &r.Peers[i]
			base.peers = append(base.peers, b.predicate(m.Key(), predicate{peer: m}))
		}
		var named []row
		for i := range r.Ports {
			p := &r.Ports[i]
			switch {
			case p.Name == "":
				base.ports = append(base.ports, portRange{protocolOf(p.Protocol), p.From, p.To})
			case d == netpol.Ingress: // the pod itself declares the port
				for _, n := range self.NamedPorts(p.Name, p.Protocol) {
					base.ports = append(base.ports, portRange{protocolOf(p.Protocol), n, n})
				}
			default: // each peer declares it, with its own number
				named = append(named, b.namedRows(base, p)...)
			}
		}
		if base.allPorts || len(base.ports) > 0 {
			rows = append(rows, base)
		}
		rows = append(rows, named...)
	}
	return rows
}

// namedRows are the rows of a named port of the peers: one for each number it has among them.
func (b *builder) namedRows(base row, p *netpol.PortMatch) []row {
	numbers := make(map[uint16]bool)
	for e := range b.snap.Endpoints() {
		for _, n := range e.NamedPorts(p.Name, p.Protocol) {
			numbers[n] = true
		}
	}
	var rows []row
	for _, n := range sorted(numbers) {
		r := base
		r.named = b.predicate(fmt.Sprintf("port %s=%d", p, n), predicate{port: p, num: n})
		r.ports = []portRange{{protocolOf(p.Protocol), n, n}}
		rows = append(rows, r)
	}
	return rows
}

func sorted(set map[uint16]bool) []uint16 {
	list := make([]uint16, 0, len(set))
	for n := range set {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

func protocolOf(p corev1.Protocol) Protocol {
	switch p {
	case corev1.ProtocolUDP:
		return UDP
	case corev1.ProtocolSCTP:
		return SCTP
	}
	return TCP
}
