// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// topologies are how CNI plugins lay pods out: a route to each veth, or one bridge that they share.
var topologies = map[string]func(*testing.T, *testNode){
	"ptp":    func(*testing.T, *testNode) {},
	"bridge": putBehindABridge,
}

func onEachTopology(t *testing.T, check func(*testing.T, *testNode)) {
	for name, lay := range topologies {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, newConfig(t))
			defer n.Remove() // the next one needs the hooks
			lay(t, n)
			check(t, n)
		})
	}
}

func putBehindABridge(t *testing.T, n *testNode) { node.NewBridge(t, "pods", n.client, n.server) }

// A pod's packet that has another's address never reaches the place where addresses tell pods apart.
func TestSpoofingBehindABridge(t *testing.T) {
	onEachTopology(t, func(t *testing.T, n *testNode) {
		n.serve(t, 8080)
		load(t, n.Dataplane, n.world(true))
		if !answers(n.connect(t, "udp", serverAddrs[0], 8080)) {
			t.Fatal("no answer to the client's own address")
		}
		drained(t, n.Dataplane)
		// The server is not allowed to open connections, the client is.
		err := n.server.Do(func() error {
			return sendFrom(clientAddrs[0], serverAddrs[0], 8080)
		})
		if err != nil {
			t.Fatal(err)
		}
		flows, _ := drained(t, n.Dataplane)
		// The kernel reports groups when it likes.
		flows = slices.DeleteFunc(flows, func(f Flow) bool { return f.Protocol != udp })
		if len(flows) != 1 || flows[0].Reason != ByForeignSource || flows[0].Ifindex != n.server.Ifindex {
			t.Errorf("recorded %+v, want one drop of a foreign source at interface %d", flows, n.server.Ifindex)
		}
	})
}

// sendFrom sends one UDP datagram with a source address that is not the sender's, to the gateway.
func sendFrom(source, destination string, port uint16) error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	packet := frame(ipPacket(source, destination, udp, udpDatagram(9, port, 'x')))
	return unix.Sendto(socket, packet, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
}
