// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// A connection is recorded with what it was sent to before translation: one through a Service is another kind than one
// straight to the backend, though both are judged alike. So is what is denied. The backend's side knows nothing of it.
func TestFlowsTellServices(t *testing.T) {
	c := newCluster(t, newConfig(t), services, clientToServer)
	runKubeProxy(t)
	c.serve(t, "server", 8080)
	wanted, want, port := map[string]attemptWanted{}, map[string]bool{}, 41001
	for _, network := range []string{"tcp", "udp"} {
		for to, through := range map[string]struct {
			backend string
			port    uint16
			service bool
		}{
			"10.96.0.80:80": {"10.99.1.2", 80, true}, "[fd96::80]:80": {"fd99:1::2", 80, true},
			"10.99.1.2:8080": {"10.99.1.2", 8080, false}, "[fd99:1::2]:8080": {"fd99:1::2", 8080, false},
			"10.99.0.1:30080": {"10.99.1.2", 30080, true},
		} {
			if through.port == 30080 && network == "udp" {
				continue // kube-proxy translates it for TCP only
			}
			service := netip.AddrPort{}
			if through.service {
				service = netip.MustParseAddrPort(to)
			}
			for from, allowed := range map[string]bool{"client": true, "stranger": false} {
				port += 2
				a := attempt{from: c.pods[from], network: network, to: to, port: port}
				wanted[fmt.Sprintf("%s by %s to %s", from, network, to)] = attemptWanted{a, allowed}
				want[kindOf(network, c.pods[from], through.backend, service)] = true
			}
		}
	}
	must(t, wanted)
	flows, _ := drained(t, c.Dataplane)
	got := map[string]bool{}
	for _, f := range flows {
		if f.Direction == netpol.Ingress && f.Service != (netip.AddrPort{}) {
			t.Errorf("the backend's side names a Service: %+v", f)
		}
		if f.Direction == netpol.Egress {
			got[fmt.Sprint(f.Protocol, f.Local, f.Remote, f.Port, f.Service)] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("recorded\n%v\nwant\n%v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// kindOf is a flow to port 8080 of a backend.
func kindOf(network string, from *node.Pod, backend string, service netip.AddrPort) string {
	protocol := map[string]byte{"tcp": tcp, "udp": udp}[network]
	remote := netip.MustParseAddr(backend)
	local := from.Addrs[slices.IndexFunc(from.Addrs, func(a netip.Addr) bool { return a.Is4() == remote.Is4() })]
	return fmt.Sprint(protocol, local, remote, 8080, service)
}
