// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// overlooks says which address that did not change, as it says, some peer of the rules matches otherwise than
// before; empty for none.
func (m *moment) overlooks(before *moment) string {
	changed := m.snapshot.Changed(before.snapshot)
	if !slices.IsSortedFunc(changed, netip.Addr.Compare) {
		return fmt.Sprintf("the changed addresses %v are not sorted", changed)
	}
	peers := m.peers()
	for _, s := range []*netpol.Snapshot{before.snapshot, m.snapshot} {
		for _, p := range peersIn(s) {
			if slices.Contains(changed, p.Addr) {
				continue
			}
			was, is := before.snapshot.EndpointAt(p.Addr), m.snapshot.EndpointAt(p.Addr)
			if was.Pod() != is.Pod() {
				return fmt.Sprintf("%s was %v and is %v, and is not among the changed addresses", p.Addr, was.Pod(), is.Pod())
			}
			for i := range peers {
				if peers[i].Matches(was) != peers[i].Matches(is) {
					return fmt.Sprintf("peer %q matches %s otherwise than before, and it is not among the changed addresses", peers[i].Key(), p.Addr)
				}
			}
		}
	}
	return ""
}

func (m *moment) peers() (all []netpol.PeerMatch) {
	for _, pod := range m.objs.Pods {
		for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
			rs := m.snapshot.RuleSet(nameOf(pod), d)
			for _, rules := range rs.Tiers {
				for _, r := range rules {
					all = append(all, r.Peers...)
				}
			}
		}
	}
	return all
}

// A small change lists few addresses.
func TestChangedIsSmall(t *testing.T) {
	var objs netpol.Objects
	for i := range 5000 {
		addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("pod-", i)}}
		p.Status.PodIP = addr.String()
		objs.Pods = append(objs.Pods, p)
	}
	s, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	moved := objs.Pods[7].DeepCopy()
	moved.Labels = map[string]string{"app": "web"}
	next, err := s.Apply(netpol.Change{Set: netpol.Objects{Pods: []*corev1.Pod{moved}}})
	if err != nil {
		t.Fatal(err)
	}
	changed := next.Changed(s)
	if !slices.Contains(changed, netip.MustParseAddr("10.1.0.7")) || len(changed) > 200 {
		t.Errorf("%d addresses changed with one pod; want its own and few others", len(changed))
	}
	if changed := next.Changed(next); len(changed) > 0 {
		t.Errorf("%v changed where nothing did", changed)
	}
}
