// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// maxListed bounds each list of Excess; what is left out is counted.
const maxListed = 1000

// Excess is what the policies allow and nobody was seen to use. It does not count what the
// baseline allows to everyone (DNS).
type Excess struct {
	// Count is the number of allowed, unseen (source, destination, protocol, range of ports), as few
	// ranges as there can be. At least one end is a workload of the inventory; the other may be an
	// address that a rule names.
	Count int      `json:"count"`
	Pairs []Unseen `json:"pairs"` // the first 1000 of them
	// Open are workloads that no policy isolates in a governed direction. Anything is allowed there, and it is
	// not among Count but where the other end has rules.
	Open []Open `json:"open"`
	// Future are the rules that allow pods that do not exist.
	Future []Future `json:"future"`
	// Ranges are the rules that allow more addresses than one at a time.
	Ranges []Range `json:"ranges"`
	// Omitted is how many Open, Future and Ranges there are beyond the first 1000 of each.
	Omitted int `json:"omitted"`
}

// Unseen is something allowed that was not observed.
type Unseen struct {
	From     string          `json:"from"` // "Deployment shop/web" or "203.0.113.7"
	To       string          `json:"to"`
	Protocol corev1.Protocol `json:"protocol"`
	Ports    string          `json:"ports"` // "3000" or "1-65535"
}

// Open is a workload that no policy isolates.
type Open struct {
	Workload  string           `json:"workload"`
	Direction netpol.Direction `json:"direction"`
}

// resident is a workload of the sample.
type resident struct {
	edge.Endpoint
	*end
	judged bool // its namespace is
	at     int  // in the list of all
}

// excess is what the policies of some namespaces allow beyond what was seen.
func (j *judge) excess(seen []*evidence.Connection) Excess {
	x := Excess{Pairs: []Unseen{}}
	all := j.residents()
	j.reach(all)
	x.count(all, j.observed(seen))
	j.countOutside(&x, all, j.observedOutside(seen))
	x.Open = bound(j.open(all), &x.Omitted)
	x.Future = bound(j.future(), &x.Omitted)
	x.Ranges = bound(j.ranges(seen), &x.Omitted)
	return x
}

// bound leaves the first of a list, which is never nil, and counts the others.
func bound[T any](all []T, omitted *int) []T {
	*omitted += max(0, len(all)-maxListed)
	return append([]T{}, all[:min(len(all), maxListed)]...)
}

func (j *judge) residents() []resident {
	var all []resident
	for _, e := range j.sample.Workloads() {
		if found, err := j.end(e); err == nil {
			all = append(all, resident{e, found, j.namespaces[e.Namespace], len(all)})
		}
	}
	return all
}

// pair is who opens connections, and to whom.
type pair struct{ from, to *end }

// observed are the ports of the connections that were seen.
func (j *judge) observed(seen []*evidence.Connection) map[pair][]netpol.PortRange {
	ports := map[pair][]netpol.PortRange{}
	for _, c := range seen {
		from, fromErr := j.end(c.From)
		to, toErr := j.end(c.To)
		if fromErr == nil && toErr == nil {
			p := pair{from, to}
			ports[p] = append(ports[p], netpol.PortRange{Protocol: c.Protocol, From: c.Port, To: c.Port})
		}
	}
	return ports
}

// count finds what is allowed between workloads, at least one of which is judged, and was not observed.
func (x *Excess) count(all []resident, observed map[pair][]netpol.PortRange) {
	judged := slices.DeleteFunc(slices.Clone(all), func(r resident) bool { return !r.judged })
	for i := range all {
		targets := judged
		if all[i].judged {
			targets = all
		}
		for k := range targets {
			allowed := lets(&all[i], &targets[k])
			if allowed.Empty() {
				continue
			}
			unseen := allowed.Subtract(netpol.Ports(observed[pair{all[i].end, targets[k].end}]...))
			x.add(all[i].Endpoint, targets[k].Endpoint, unseen.Ranges())
		}
	}
}

func (x *Excess) add(from, to edge.Endpoint, ranges []netpol.PortRange) {
	x.Count += len(ranges)
	for _, r := range ranges[:min(len(ranges), maxListed-len(x.Pairs))] {
		x.Pairs = append(x.Pairs, Unseen{from.String(), to.String(), r.Protocol, portsOf(r)})
	}
}

func portsOf(r netpol.PortRange) string {
	if r.From == r.To {
		return fmt.Sprint(r.From)
	}
	return fmt.Sprintf("%d-%d", max(r.From, 1), r.To)
}

// lets is what rules let through between any pods of two workloads. Where there are no rules, because neither
// end is isolated, it is nothing: that is said of each end.
func lets(from, to *resident) netpol.PortSet {
	var all netpol.PortSet
	for i := range from.points {
		for k := range to.points {
			src, dst := &from.points[i], &to.points[k] // of the same workload: rules treat its twin like it
			egress, ingress := src.sides[netpol.Egress], dst.sides[netpol.Ingress]
			if egress == nil && ingress == nil {
				continue
			}
			if egress != nil && !egress.reaches[to.at] || ingress != nil && !ingress.reaches[from.at] {
				continue // as it is with most workloads: they have nothing to do with each other
			}
			out, in := egress.lets(dst.Endpoint, dst.Endpoint), ingress.lets(src.Endpoint, dst.Endpoint)
			all = all.Union(out.Intersect(in))
		}
	}
	return all
}

// everything is what passes where nothing isolates.
var everything = netpol.AllPorts()

// lets is what one side allows, the baseline's part aside; everything where nothing isolates it.
func (s *side) lets(peer, destination netpol.Endpoint) (all netpol.PortSet) {
	if s == nil {
		return everything
	}
	for _, r := range s.about(peer) {
		if !r.baseline && r.compiled.MatchesPeer(peer) {
			all = all.Union(r.compiled.PortsAt(destination))
		}
	}
	return all
}

// open lists the judged workloads that nothing isolates in a governed direction.
func (j *judge) open(all []resident) (found []Open) {
	for i := range all {
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			isOpen := slices.ContainsFunc(all[i].points, func(p point) bool { return p.sides[d] == nil })
			if all[i].judged && isOpen && j.governed[all[i].Namespace].Has(d) {
				found = append(found, Open{all[i].String(), d})
			}
		}
	}
	return found
}
