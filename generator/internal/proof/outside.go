// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"net/netip"
	"slices"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// way is from a workload to an address, or the other way round.
type way struct {
	workload  *end
	direction netpol.Direction
	addr      netip.Addr
}

// observedOutside are the ports of the connections that were seen between workloads and addresses.
func (j *judge) observedOutside(seen []*evidence.Connection) map[way][]netpol.PortRange {
	ports := map[way][]netpol.PortRange{}
	add := func(c *evidence.Connection, workload, address *edge.Endpoint, d netpol.Direction) {
		if !workload.IsPod() || address.IsPod() {
			return
		}
		if found, err := j.end(*workload); err == nil {
			w := way{found, d, address.Addr}
			ports[w] = append(ports[w], netpol.PortRange{Protocol: c.Protocol, From: c.Port, To: c.Port})
		}
	}
	for _, c := range seen {
		add(c, &c.From, &c.To, netpol.Egress)
		add(c, &c.To, &c.From, netpol.Ingress)
	}
	return ports
}

// countOutside finds what is allowed between judged workloads and the addresses that their rules name, one at a time,
// and was not observed. Of more than one address there is a Range.
func (j *judge) countOutside(x *Excess, all []resident, observed map[way][]netpol.PortRange) {
	for i := range all {
		for _, d := range []netpol.Direction{netpol.Egress, netpol.Ingress} {
			r := &all[i]
			for _, addr := range r.named(d) {
				unseen := j.letsOutside(r.end, d, addr).Subtract(netpol.Ports(observed[way{r.end, d, addr}]...))
				from, to := r.Endpoint, edge.Endpoint{Addr: addr}
				if d == netpol.Ingress {
					from, to = to, from
				}
				x.add(from, to, unseen.Ranges())
			}
		}
	}
}

// named are the addresses that rules of a judged workload name, ordered.
func (r *resident) named(d netpol.Direction) (addrs []netip.Addr) {
	for i := range r.points {
		if side := r.points[i].sides[d]; side != nil && r.judged {
			addrs = append(addrs, side.named()...)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func (s *side) named() (addrs []netip.Addr) {
	for _, r := range s.far {
		for i := range r.compiled.Peers {
			if block := r.compiled.Peers[i].Block; block.IsSingleIP() && !r.baseline {
				addrs = append(addrs, block.Addr())
			}
		}
	}
	return addrs
}

// letsOutside is what rules let through between any pods of a workload and an address.
func (j *judge) letsOutside(workload *end, d netpol.Direction, addr netip.Addr) (all netpol.PortSet) {
	outside := j.snapshot.EndpointAt(addr)
	for i := range workload.points {
		p := &workload.points[i]
		destination := outside
		if d == netpol.Ingress {
			destination = p.Endpoint
		}
		if side := p.sides[d]; side != nil {
			all = all.Union(side.lets(outside, destination))
		}
	}
	return all
}
