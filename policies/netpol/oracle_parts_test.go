// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// What the package tells of a cluster beside verdicts must be what the oracle reads in the objects.

func checkParts(t *testing.T, objs netpol.Objects, s *netpol.Snapshot, o *oracle) {
	t.Helper()
	for _, np := range objs.Policies {
		if faults := netpol.Validate(np); (faults == nil) != soundPolicy(np) {
			t.Errorf("%s/%s: the oracle says sound: %v; Validate: %v", np.Namespace, np.Name, soundPolicy(np), faults)
		}
		checkView(t, np)
	}
	for _, svc := range objs.Services {
		addrs := netpol.ServiceAddresses(svc)
		slices.SortFunc(addrs, netip.Addr.Compare)
		if len(slices.Compact(slices.Clone(addrs))) != len(addrs) {
			t.Errorf("%s/%s has an address twice: %v", svc.Namespace, svc.Name, addrs)
		}
	}
	addresses := map[string]bool{}
	for _, pod := range objs.Pods {
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			var want []*networkingv1.NetworkPolicy
			if hasIdentity(pod) {
				want = o.isolatedBy(pod, networkingv1.PolicyType(d.String()))
			}
			set := s.RuleSet(nameOf(pod), d)
			if set.Isolated != (want != nil) || !slices.EqualFunc(set.By, want, isPolicy) {
				t.Errorf("%s %s: isolated by %v, want %d policies", nameOf(pod), d, set.By, len(want))
			}
			checkTier(t, o, pod, set.Tiers[netpol.Admin], 0, d)
			checkTier(t, o, pod, set.Tiers[netpol.Baseline], 1, d)
		}
		if e := s.Endpoint(nameOf(pod)); (e.Pod() == nameOf(pod)) != hasIdentity(pod) {
			t.Errorf("%s: the endpoint is %v", nameOf(pod), e.Pod())
		}
		if hasIdentity(pod) {
			for _, ip := range o.podAddresses[pod] {
				addresses[ip.String()] = true
			}
		}
	}
	checkNodes(t, s, o)
	count := 0
	for e := range s.Endpoints() {
		count++
		if p := o.party(netpol.Peer{Addr: e.Addr}, bytesOf(e.Addr)); p.pod == nil || nameOf(p.pod) != e.Pod() {
			t.Errorf("endpoint %s is %s", e.Addr, e.Pod())
		}
	}
	if count != len(addresses) {
		t.Errorf("%d endpoints, want one for each of %d addresses", count, len(addresses))
	}
}

// checkNodes: the addresses of Nodes that no pod has.
func checkNodes(t *testing.T, s *netpol.Snapshot, o *oracle) {
	t.Helper()
	want := map[string]bool{}
	for _, n := range o.Nodes {
		for _, ip := range o.nodeAddresses[n] {
			if o.owner(ip) == nil {
				want[ip.String()] = true
			}
		}
	}
	got := s.NodeEndpoints()
	for _, e := range got {
		if !want[e.Addr.String()] || e.Pod().Name != "" {
			t.Errorf("%s of pod %q is no endpoint of a node", e.Addr, e.Pod())
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d endpoints of nodes, want %d", len(got), len(want))
	}
}

// checkTier: those rules whose subject the pod is, in order of precedence.
func checkTier(t *testing.T, o *oracle, pod *corev1.Pod, got []*netpol.Rule, tier int, d netpol.Direction) {
	t.Helper()
	var want []*clusterRule
	for i := range o.tiers[tier] {
		r := &o.tiers[tier][i]
		if hasIdentity(pod) && string(r.direction) == d.String() && o.isSubject(&r.policy.Spec.Subject, &party{pod: pod}) {
			want = append(want, r)
		}
	}
	if !slices.EqualFunc(got, want, isClusterRule) {
		t.Errorf("%s %s: tier %d has %v, want %v", nameOf(pod), d, tier, got, want)
	}
}

func isClusterRule(got *netpol.Rule, want *clusterRule) bool {
	if !want.agrees(&got.Origin) || got.Action.String() != string(want.action) {
		return false
	}
	if want.everyone {
		return got.Peers == nil && got.Ports == nil
	}
	peers := 0
	for _, p := range want.peers {
		peers += max(1, len(p.Networks))
	}
	return len(got.Peers) == peers && len(got.Ports) == len(want.protocols)
}

// checkView: the view has the sound parts of those rules that can allow something, and no others.
func checkView(t *testing.T, np *networkingv1.NetworkPolicy) {
	t.Helper()
	v := netpol.View(np)
	var want []string
	if isolates(np, networkingv1.PolicyTypeIngress) {
		for i, r := range np.Spec.Ingress {
			want = append(want, partsOf("Ingress", i, r.From, r.Ports)...)
		}
	}
	if isolates(np, networkingv1.PolicyTypeEgress) {
		for i, r := range np.Spec.Egress {
			want = append(want, partsOf("Egress", i, r.To, r.Ports)...)
		}
	}
	var got []string
	for _, r := range v.Allows {
		got = append(got, partText(r.Direction, r.Index, len(r.Peers), len(r.Ports)))
		for _, p := range r.Peers {
			if prefix, err := netip.ParsePrefix(p.CIDR); p.CIDR != "" && (err != nil || prefix != prefix.Masked()) {
				t.Errorf("%s/%s %s: range %q", np.Namespace, np.Name, p.Path, p.CIDR)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s/%s: the view has %q, want %q", np.Namespace, np.Name, got, want)
	}
}

// partsOf is the rule in one line; nil if it can allow nothing.
func partsOf(direction string, index int, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) []string {
	soundPeers, soundPorts := 0, 0
	for i := range peers {
		if soundPeer(&peers[i]) {
			soundPeers++
		}
	}
	for i := range ports {
		if soundPort(&ports[i]) {
			soundPorts++
		}
	}
	if len(peers) > 0 && soundPeers == 0 || len(ports) > 0 && soundPorts == 0 {
		return nil
	}
	return []string{partText(direction, index, soundPeers, soundPorts)}
}

func partText(direction string, index, peers, ports int) string {
	return fmt.Sprintf("%s[%d] %d peers %d ports", direction, index, peers, ports)
}
