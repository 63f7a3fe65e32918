// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// stage is the snapshot with other policies.
func stage(t *testing.T, snap *netpol.Snapshot, policies ...*networkingv1.NetworkPolicy) *netpol.Snapshot {
	t.Helper()
	staged, err := snap.Apply(netpol.Change{Set: netpol.Objects{Policies: policies}})
	if err != nil && len(policies[0].Spec.Ingress) <= MaxRules {
		t.Fatal(err)
	}
	return staged
}

// threePods are an api, a web and a client, of which the client may talk to the api at port 1.
func threePods(t *testing.T) (*netpol.Snapshot, Input) {
	t.Helper()
	objs := netpol.Objects{Policies: rulesFor("api", 1)}
	var in Input
	for i, name := range []string{"api", "web", "client"} {
		addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		objs.Pods = append(objs.Pods, pod(name, map[string]string{"app": name}, addr.String()))
		in.Endpoints = append(in.Endpoints, EndpointInput{Pod: types.NamespacedName{Namespace: "shop", Name: name}, Ifindex: uint32(i + 1)})
	}
	snap, err := netpol.Compile(objs)
	if err != nil {
		t.Fatal(err)
	}
	return snap, in
}

// asStaged is the world with the staged sets in force.
func (w *World) asStaged() *World {
	staged := *w
	staged.Endpoints = make(map[uint32]Endpoint)
	for ifindex, e := range w.Endpoints {
		if e.IsStaged {
			e.Set = e.Staged
		}
		staged.Endpoints[ifindex] = e
	}
	return &staged
}

func TestStagedSets(t *testing.T) {
	snap, in := threePods(t)
	client := netip.MustParseAddr("10.0.0.3")
	in.Staged = stage(t, snap, allowFrom("api", 2), allowFrom("web", 1))
	w, err := Build(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	for ifindex, isStaged := range map[uint32]bool{1: true, 2: true, 3: false} {
		if e := w.Endpoints[ifindex]; e.IsStaged != isStaged || isStaged && e.Staged == e.Set {
			t.Errorf("endpoint %d is %+v, want a staged set: %v", ifindex, e, isStaged)
		}
	}
	for _, row := range []struct {
		ifindex      uint32
		port         uint16
		live, staged bool
	}{
		{1, 1, true, true}, {1, 2, false, true}, {1, 3, false, false}, {2, 1, true, true}, {2, 2, true, false}, {3, 1, true, true},
	} {
		live, _ := w.decide(row.ifindex, netpol.Ingress, client, corev1.ProtocolTCP, row.port)
		staged, _ := w.asStaged().decide(row.ifindex, netpol.Ingress, client, corev1.ProtocolTCP, row.port)
		if live != row.live || staged != row.staged {
			t.Errorf("endpoint %d port %d: live %v, staged %v; want %v and %v", row.ifindex, row.port, live, staged, row.live, row.staged)
		}
	}
	if o := w.Rule(w.Endpoints[2].Staged, netpol.Ingress, 0); o == nil || o.Name != "allow-web" {
		t.Errorf("the staged rule is named %v", o)
	}
	if by := w.Isolation(w.Endpoints[2].Staged, netpol.Ingress); len(by) != 1 || by[0].Name != "allow-web" {
		t.Errorf("the staged isolation is by %v", by)
	}
}

// What says the same is not judged twice, whether it is the same object or not.
func TestStagedAsLive(t *testing.T) {
	snap, in := threePods(t)
	in.Staged = stage(t, snap, allowFrom("api", 1))
	w, err := Build(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	for ifindex, e := range w.Endpoints {
		if e.IsStaged {
			t.Errorf("endpoint %d is %+v", ifindex, e)
		}
	}
}

// Staged policies that do not fit do not keep live ones from being loaded.
func TestStagedTooLarge(t *testing.T) {
	snap, in := threePods(t)
	in.Staged = stage(t, snap, allowFrom("api", MaxRules+1), allowFrom("web", 1))
	w, err := Build(snap, in)
	if err != nil {
		t.Fatal(err)
	}
	if w.Endpoints[1].IsStaged || !w.Endpoints[2].IsStaged {
		t.Errorf("endpoints are %+v", w.Endpoints)
	}
	if len(w.Unstaged) != 1 || !strings.Contains(w.Unstaged[0].Error(), "staged policies of pod shop/api: Ingress has 1025 rules") {
		t.Errorf("unstaged: %v", w.Unstaged)
	}
}

// A staged set keeps its number as long as nothing about it changes.
func TestStagedSetsStay(t *testing.T) {
	snap, in := threePods(t)
	in.Staged = stage(t, snap, allowFrom("api", 2))
	p := NewPlanner(5)
	first := next(t, p, snap, in)
	second := next(t, p, snap, in)
	if !second.Partial || len(second.Sets) != 0 || second.Endpoints[1] != first.Endpoints[1] {
		t.Errorf("endpoint was %+v and is %+v, with %d new sets", first.Endpoints[1], second.Endpoints[1], len(second.Sets))
	}
	in.Staged = nil
	if e := next(t, p, snap, in).Endpoints[1]; e.IsStaged {
		t.Errorf("endpoint is %+v with nothing staged", e)
	}
}
