// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// judge is policies compiled over a sample, and their rules by the pods that they govern.
type judge struct {
	sample     *inventory.Sample
	snapshot   *netpol.Snapshot
	policies   []*networkingv1.NetworkPolicy
	namespaces map[string]bool                     // of policies
	governed   map[string]baseline.Directions      // by namespace, of each
	rules      []*rule                             // in the order of policies, ingress before egress
	byPolicy   map[types.NamespacedName][2][]*rule // by direction and index
	sides      map[string]*side
	ends       map[edge.Endpoint]*end
}

// side is what governs pods in one direction in which they are isolated: their rules, in the order in which they
// are asked.
type side struct {
	rules   []*rule
	reaches []bool             // which residents the rules, but the baseline's, are about; nil: nobody has asked yet
	far     []*rule            // that can match addresses, or pods of any namespace
	near    map[string][]*rule // that can match pods of a namespace, those of far included; none: only far can
}

// end is a workload's pods, or an address.
type end struct{ points, twins []point }

// point is one pod or address.
type point struct {
	netpol.Endpoint
	peer  netpol.Peer // the same for Evaluate
	sides [2]*side    // by netpol.Direction; nil where nothing isolates it
}

func newJudge(policies []*networkingv1.NetworkPolicy, sample *inventory.Sample, dns baseline.DNSTargets) (*judge, error) {
	snapshot, err := sample.Compile(policies)
	if err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	j := &judge{
		sample: sample, snapshot: snapshot, policies: policies,
		namespaces: map[string]bool{}, governed: governed(policies), byPolicy: map[types.NamespacedName][2][]*rule{}, sides: map[string]*side{}, ends: map[edge.Endpoint]*end{},
	}
	for i, p := range policies {
		j.namespaces[p.Namespace] = true
		ingress, egress := rulesOf(i, p, dns)
		j.rules = append(append(j.rules, ingress...), egress...)
		j.byPolicy[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = [2][]*rule{netpol.Ingress: ingress, netpol.Egress: egress}
	}
	return j, nil
}

// governed are the directions that each namespace's default-deny isolates; both where it has none.
func governed(policies []*networkingv1.NetworkPolicy) map[string]baseline.Directions {
	by, all := map[string][]*networkingv1.NetworkPolicy{}, map[string]baseline.Directions{}
	for _, p := range policies {
		by[p.Namespace] = append(by[p.Namespace], p)
	}
	for name, of := range by {
		if all[name] = baseline.Governed(of); all[name] == (baseline.Directions{}) {
			all[name] = baseline.BothDirections()
		}
	}
	return all
}

// end finds what stands for an end. The error says that the sample has nothing.
func (j *judge) end(e edge.Endpoint) (*end, error) {
	if known := j.ends[e]; known != nil {
		return known, nil
	}
	peers, twins, err := j.sample.Peers(e)
	if err != nil {
		return nil, err
	}
	found := &end{j.points(peers), j.points(twins)}
	j.ends[e] = found
	return found, nil
}

func (j *judge) points(peers []netpol.Peer) []point {
	points := make([]point, 0, len(peers))
	for _, peer := range peers {
		p := point{Endpoint: j.snapshot.Endpoint(peer.Pod), peer: peer}
		if peer.Pod.Name == "" {
			p.Endpoint = j.snapshot.EndpointAt(peer.Addr)
		}
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			p.sides[d] = j.side(p.Endpoint, d)
		}
		points = append(points, p)
	}
	return points
}

func (j *judge) side(e netpol.Endpoint, d netpol.Direction) *side {
	set := j.snapshot.RuleSet(e.Pod(), d)
	if !set.Isolated {
		return nil
	}
	key := d.String() + set.Key()
	if known := j.sides[key]; known != nil {
		return known
	}
	s := &side{near: map[string][]*rule{}}
	for _, compiled := range set.Tiers[netpol.NetworkPolicies] {
		o := &compiled.Origin
		r := j.byPolicy[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}][d][o.Index]
		r.compiled = compiled
		s.add(r)
	}
	j.sides[key] = s
	return s
}

func (s *side) add(r *rule) {
	s.rules = append(s.rules, r)
	names, everywhere := r.namespaces()
	if everywhere {
		s.far = append(s.far, r)
		for name := range s.near {
			s.near[name] = append(s.near[name], r)
		}
		return
	}
	for _, name := range names {
		if _, known := s.near[name]; !known {
			s.near[name] = slices.Clone(s.far)
		}
		s.near[name] = append(s.near[name], r)
	}
}

// about are the rules that can match an endpoint, in the order in which they are asked.
func (s *side) about(e netpol.Endpoint) []*rule {
	if rules, known := s.near[e.Pod().Namespace]; known {
		return rules
	}
	return s.far
}

// namespaces are those in which the rule can match pods, each once; true where it can do so everywhere: a range can
// have the addresses of pods.
func (r *rule) namespaces() (names []string, everywhere bool) {
	for i := range r.compiled.Peers {
		name, one := namespaceOf(&r.compiled.Peers[i])
		if r.compiled.Peers[i].Pods == nil || !one {
			return nil, true
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, len(names) == 0
}

// namespaceOf is the only namespace in which a peer can match pods; false when there is more than one.
func namespaceOf(m *netpol.PeerMatch) (string, bool) {
	if m.Namespaces == nil {
		return m.Namespace, true
	}
	return m.Namespaces.RequiresExactMatch(corev1.LabelMetadataName)
}

// between are the points between which a connection is judged: each source and each destination. The error says
// that an end has none.
func (j *judge) between(c *evidence.Connection) (sources, destinations []point, err error) {
	from, err := j.end(c.From)
	if err != nil {
		return nil, nil, err
	}
	to, err := j.end(c.To)
	if err != nil {
		return nil, nil, err
	}
	if from == to {
		return from.points, to.twins, nil
	}
	return from.points, to.points, nil
}

// broken says between whom and why a connection is not allowed; nil: it is, between all pods that stand for it.
func (j *judge) broken(c *evidence.Connection) *Broken {
	sources, destinations, err := j.between(c)
	if err != nil {
		return &Broken{Connection: c.String(), Reason: err.Error()}
	}
	for i := range sources {
		for k := range destinations {
			from, to := sources[i].peer, destinations[k].peer
			v := j.snapshot.Evaluate(netpol.Connection{From: from, To: to, Protocol: c.Protocol, Port: c.Port})
			if !v.Allowed {
				return &Broken{c.String(), reason(&v), podOf(from), podOf(to)}
			}
		}
	}
	return nil
}

func reason(v *netpol.Verdict) string {
	side, decision := v.Decider()
	text := fmt.Sprintf("%s denied: %s", side, decision.Reason)
	for _, by := range decision.By {
		text += ", isolated by " + by.String()
	}
	return text
}

// podOf is a peer's pod as namespace/name; empty when it is none.
func podOf(p netpol.Peer) string {
	if p.Pod.Name == "" {
		return ""
	}
	return p.Pod.String()
}
