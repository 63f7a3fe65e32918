// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// judge is policies compiled over a sample, and their rules by the pods that they govern.
type judge struct {
	sample   *inventory.Sample
	snapshot *netpol.Snapshot
	policies []*networkingv1.NetworkPolicy
	rules    []*rule // in the order of policies, ingress before egress
	byPlace  map[place]*rule
	sides    map[string]*side
	ends     map[edge.Endpoint]*end
}

// place is where a rule stands.
type place struct {
	namespace, policy string
	direction         netpol.Direction
	index             int
}

// side is what governs pods in one direction in which they are isolated.
type side struct {
	rules []*rule            // in the order in which they are asked
	near  map[string][]*rule // those that can match a pod of a namespace; of none: an address
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
		byPlace: map[place]*rule{}, sides: map[string]*side{}, ends: map[edge.Endpoint]*end{},
	}
	for i, p := range policies {
		j.rules = append(j.rules, rulesOf(i, p, dns)...)
	}
	for _, r := range j.rules {
		p := policies[r.policy]
		j.byPlace[place{p.Namespace, p.Name, r.direction, r.index}] = r
	}
	return j, nil
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
		r := j.byPlace[place{o.Namespace, o.Name, d, o.Index}]
		r.compiled = compiled
		s.rules = append(s.rules, r)
	}
	j.sides[key] = s
	return s
}

// about are the rules that can match an endpoint, in the order in which they are asked.
func (s *side) about(e netpol.Endpoint) []*rule {
	namespace := e.Pod().Namespace
	rules, known := s.near[namespace]
	if !known {
		for _, r := range s.rules {
			if r.isAbout(namespace) {
				rules = append(rules, r)
			}
		}
		s.near[namespace] = rules
	}
	return rules
}

// isAbout is false only where no peer of the rule matches any pod of the namespace; of none: any address.
func (r *rule) isAbout(namespace string) bool {
	return len(r.compiled.Peers) == 0 || slices.ContainsFunc(r.compiled.Peers, func(m netpol.PeerMatch) bool {
		if m.Pods == nil {
			return true // a range can have the addresses of pods
		}
		name, only := namespaceOf(&m)
		return namespace != "" && (!only || name == namespace)
	})
}

// namespaceOf is the only namespace in which a peer can match pods; false when there is more than one.
func namespaceOf(m *netpol.PeerMatch) (string, bool) {
	if m.Namespaces == nil {
		return m.Namespace, true
	}
	return m.Namespaces.RequiresExactMatch(corev1.LabelMetadataName)
}

// pairs are the points between which a connection is judged.
func (j *judge) pairs(from, to edge.Endpoint) ([][2]*point, error) {
	source, err := j.end(from)
	if err != nil {
		return nil, err
	}
	target, err := j.end(to)
	if err != nil {
		return nil, err
	}
	destinations := target.points
	if from == to {
		destinations = target.twins
	}
	pairs := make([][2]*point, 0, len(source.points)*len(destinations))
	for i := range source.points {
		for k := range destinations {
			pairs = append(pairs, [2]*point{&source.points[i], &destinations[k]})
		}
	}
	return pairs, nil
}

// denied says between whom and why a connection is not allowed; nil: it is, between all pods that stand for it.
func (j *judge) denied(c *evidence.Connection) *Broken {
	pairs, err := j.pairs(c.From, c.To)
	if err != nil {
		return &Broken{Connection: c.String(), Reason: err.Error()}
	}
	for _, p := range pairs {
		v := j.snapshot.Evaluate(netpol.Connection{From: p[0].peer, To: p[1].peer, Protocol: c.Protocol, Port: c.Port})
		if v.Allowed {
			continue
		}
		side, decision := v.Decider()
		reason := fmt.Sprintf("%s denied: %s", side, decision.Reason)
		for _, by := range decision.By {
			reason += ", isolated by " + by.String()
		}
		return &Broken{Connection: c.String(), Reason: reason, From: pod(p[0]), To: pod(p[1])}
	}
	return nil
}

// pod is the point's pod as namespace/name; empty when it is none.
func pod(p *point) string {
	if p.peer.Pod.Name == "" {
		return ""
	}
	return p.peer.Pod.String()
}
