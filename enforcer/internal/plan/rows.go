// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// lowerRules turns rules into rows, in order.
func (t *tables) lowerRules(rules []*netpol.Rule, d netpol.Direction, self netpol.Endpoint) []row {
	var rows []row
	for _, r := range rules {
		base := row{origin: &r.Origin, action: r.Action, everyone: len(r.Peers) == 0, named: none, allPorts: len(r.Ports) == 0}
		for i := range r.Peers {
			m := &r.Peers[i]
			base.peers = append(base.peers, t.predicate(m.Key(), predicate{peer: m}))
		}
		var named []row
		for i := range r.Ports {
			p := &r.Ports[i]
			switch {
			case p.Name == "":
				base.ports = append(base.ports, portRange{protocolOf(p.Protocol), p.From, p.To})
			case d == netpol.Ingress: // the pod itself declares the port
				base.ports = append(base.ports, namedPorts(self, p)...)
			default: // each peer declares it, with its own number
				named = append(named, t.namedRows(base, p)...)
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
func (t *tables) namedRows(base row, p *netpol.PortMatch) []row {
	var rows []row
	for _, at := range t.namedAnywhere(p) {
		r := base
		r.named = t.predicate(fmt.Sprintf("port %s=%v", p.Name, at), predicate{port: p, at: at})
		r.ports = []portRange{at}
		rows = append(rows, r)
	}
	return rows
}

// namedAnywhere is everything that some pod gives the name, each once, in order.
func (t *tables) namedAnywhere(p *netpol.PortMatch) []portRange {
	key := p.String()
	all, known := t.named[key]
	if known {
		return all
	}
	for e := range t.snap.Endpoints() {
		for _, at := range namedPorts(e, p) {
			if i, found := slices.BinarySearchFunc(all, at, compareRanges); !found {
				all = slices.Insert(all, i, at)
			}
		}
	}
	t.named[key] = all
	return all
}

// namedPorts is what the endpoint's pod gives the name of a port, in the port's protocol or in all of them.
func namedPorts(e netpol.Endpoint, p *netpol.PortMatch) []portRange {
	var ports []portRange
	for number, protocol := range protocols {
		if p.Protocol != "" && p.Protocol != protocol {
			continue
		}
		for _, n := range e.NamedPorts(p.Name, protocol) {
			ports = append(ports, portRange{Protocol(number), n, n})
		}
	}
	return ports
}

func compareRanges(a, b portRange) int {
	return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
}

// protocols are the names of those that have ports, by Protocol.
var protocols = [...]corev1.Protocol{TCP: corev1.ProtocolTCP, UDP: corev1.ProtocolUDP, SCTP: corev1.ProtocolSCTP}

// protocolOf is the number of a protocol that has ports. Rules and connections have no others.
func protocolOf(p corev1.Protocol) Protocol { return Protocol(slices.Index(protocols[:], p)) }
