// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// A port of the pod's own node leads to the backend, which the client may reach.
func TestOwnNodePortOfPod(t *testing.T) {
	c := newCluster(t, newConfig(t), services, clientToServer)
	runKubeProxy(t)
	c.serve(t, "server", 8080)
	snapshot, err := netpol.Compile(c.objects)
	if err != nil {
		t.Fatal(err)
	}
	v := snapshot.Evaluate(netpol.Connection{From: peerOf("client", netip.Addr{}), To: netpol.Peer{Addr: node.Gateway4}, Port: 30081})
	must(t, map[string]attemptWanted{"from the client": {attempt{from: c.pods["client"], network: "tcp", to: "10.99.0.1:30081"}, v.Allowed}})
}
