// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

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
	owned := 0
	for _, pod := range objs.Pods {
		self := &party{}
		if !isGone(pod) && !pod.Spec.HostNetwork {
			self.pod = pod
			owned += len(addressesOf(pod))
		}
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			want := o.isolation(self, networkingv1.PolicyType(d.String()))
			set := s.RuleSet(nameOf(pod), d)
			if set.Isolated != (want.by != nil) || !slices.EqualFunc(set.By, want.by, func(o *netpol.Origin, np *networkingv1.NetworkPolicy) bool {
				return isOrigin(o, np, d, -1)
			}) {
				t.Errorf("%s %s: isolated by %v, want %d policies", nameOf(pod), d, set.By, len(want.by))
			}
		}
		if e := s.Endpoint(nameOf(pod)); (e.Pod() == nameOf(pod)) != (self.pod != nil) {
			t.Errorf("%s: the endpoint is %v", nameOf(pod), e.Pod())
		}
	}
	for e := range s.Endpoints() {
		owned--
		if p := o.party(netpol.Peer{Addr: e.Addr}, bytesOf(e.Addr)); p.pod == nil || nameOf(p.pod) != e.Pod() {
			t.Errorf("endpoint %s is %s", e.Addr, e.Pod())
		}
	}
	if owned != 0 {
		t.Errorf("%d addresses of pods are missing from the endpoints", owned)
	}
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
