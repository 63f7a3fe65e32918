// SPDX-License-Identifier: Apache-2.0

package attribution_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/attribution"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/names"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func named(name string, addrs ...string) names.Answer {
	a := names.Answer{Name: name, TTL: time.Hour}
	for _, addr := range addrs {
		a.Addrs = append(a.Addrs, netip.MustParseAddr(addr))
	}
	return a
}

// A flow has the names that its own pod was told, of what is neither a pod nor a Service, at the end where it is.
func TestFlowsAreNamed(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	b.Pods([]*corev1.Pod{pod("api", "1", "10.0.0.2"), pod("web", "2", "10.0.0.3")}, nil, at(0))
	b.Interfaces(map[uint32]types.NamespacedName{7: {Namespace: "shop", Name: "api"}, 8: {Namespace: "shop", Name: "web"}}, at(0))
	b.Services([]*corev1.Service{service("svc", "10.96.0.1", corev1.ServicePort{Port: 80})}, nil, at(0))
	for _, addr := range []string{"192.0.2.1", "10.0.0.3", "10.96.0.1"} {
		b.Named(7, named("b.test", addr), at(0))
		b.Named(7, named("a.test", addr), at(0))
	}
	b.Named(9, named("nobody.test", "192.0.2.1"), at(0))
	flow := func(ifindex uint32, remote string, d netpol.Direction, seconds int) dataplane.Flow {
		r := record("10.0.0.2", remote, at(seconds))
		r.Ifindex, r.Direction = ifindex, d
		return r
	}
	both := []string{"a.test", "b.test"}
	for what, c := range map[string]struct {
		flow                dataplane.Flow
		source, destination []string
	}{
		"out":                {flow(7, "192.0.2.1", netpol.Egress, 1), nil, both},
		"in":                 {flow(7, "192.0.2.1", netpol.Ingress, 1), both, nil},
		"of another pod":     {flow(8, "192.0.2.1", netpol.Egress, 1), nil, nil},
		"of no pod":          {flow(9, "192.0.2.1", netpol.Egress, 1), nil, nil},
		"to another address": {flow(7, "192.0.2.2", netpol.Egress, 1), nil, nil},
		"to a pod":           {flow(7, "10.0.0.3", netpol.Egress, 1), nil, nil},
		"to a Service":       {flow(7, "10.96.0.1", netpol.Egress, 1), nil, nil},
		"too late":           {flow(7, "192.0.2.1", netpol.Egress, 3601), nil, nil},
	} {
		f := one(b, c.flow)
		if !slices.Equal(f.GetSourceNames(), c.source) || !slices.Equal(f.GetDestinationNames(), c.destination) {
			t.Errorf("%s: from %q to %q, want %q and %q", what, f.GetSourceNames(), f.GetDestinationNames(), c.source, c.destination)
		}
	}
	translated := flow(7, "192.0.2.1", netpol.Egress, 1)
	translated.Service = netip.MustParseAddrPort("10.96.0.1:80") // whose backend is outside
	if f := one(b, translated); f.GetDestinationService().GetName() != "svc" || !slices.Equal(f.GetDestinationNames(), both) {
		t.Errorf("through a Service to the outside: %v", f)
	}
}

// A pod takes its names with it; what it did before is still described by them.
func TestNamesGoWithTheirPod(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	b.Interfaces(map[uint32]types.NamespacedName{7: {Namespace: "shop", Name: "api"}}, at(0))
	b.Named(7, named("a.test", "192.0.2.1"), at(0))
	b.Interfaces(map[uint32]types.NamespacedName{7: {Namespace: "shop", Name: "web"}}, at(10))
	for seconds, want := range map[int]int{9: 1, 11: 0} {
		r := record("10.0.0.2", "192.0.2.1", at(seconds))
		r.Ifindex = 7
		if got := one(b, r).GetDestinationNames(); len(got) != want {
			t.Errorf("after %d s: %q", seconds, got)
		}
	}
	if held, evicted := b.NameCounts(); held != 1 || evicted != 0 {
		t.Errorf("%d held, %d evicted", held, evicted)
	}
	b.Pods(nil, nil, at(400)) // forgets what is long past
	if held, _ := b.NameCounts(); held != 0 {
		t.Errorf("%d names of a pod that is long gone", held)
	}
}
