// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// A test node with two real pods. The client may reach the server at port 8080 (TCP and UDP); both are
// isolated. The Service translates port 80 to the server's 8080.
type testNode struct {
	*Dataplane
	client, server *node.Pod
}

var (
	clientAddrs  = []string{"10.99.1.1", "fd99:1::1"}
	serverAddrs  = []string{"10.99.1.2", "fd99:1::2"}
	serviceAddrs = []string{"10.96.0.80", "fd96::80"}
)

func newNode(t *testing.T, config Config) *testNode {
	t.Helper()
	n := &testNode{open(t, config), node.NewPod(t, "client", clientAddrs...), node.NewPod(t, "server", serverAddrs...)}
	for _, pod := range []*node.Pod{n.client, n.server} {
		if err := n.Attach(pod.Ifindex); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

const (
	clientClass, serverClass = 1, 2
	clientSet, serverSet     = 0, 1
)

// world lets the client reach the server if allowed.
func (n *testNode) world(allowed bool) *plan.World {
	w := &plan.World{
		Endpoints: map[uint32]plan.Endpoint{
			n.client.Ifindex: {Set: clientSet, Mode: plan.Enforce, Main: n.client.Ifindex},
			n.server.Ifindex: {Set: serverSet, Mode: plan.Enforce, Main: n.server.Ifindex},
		},
		Identities: map[netip.Addr]plan.Identity{node.Gateway4: {Node: true}, node.Gateway6: {Node: true}},
		Services:   map[netip.Addr]struct{}{},
		Sets: []plan.SetEntry{
			clientSet: {Isolated: [2]bool{true, true}, Rules: [2]uint16{0, 1}},
			serverSet: {Isolated: [2]bool{true, true}, Rules: [2]uint16{1, 0}},
		},
		Peers: map[plan.PeerKey]plan.Bitmap{
			{Set: serverSet, Class: clientClass, Direction: netpol.Ingress}: {1},
		},
		Ports:       map[plan.PortKey]plan.Bitmap{},
		PortClasses: new(plan.PortClasses),
	}
	if allowed {
		w.Peers[plan.PeerKey{Set: clientSet, Class: serverClass, Direction: netpol.Egress}] = plan.Bitmap{1}
	}
	for i := range clientAddrs {
		w.Identities[netip.MustParseAddr(clientAddrs[i])] = plan.Identity{Class: clientClass, Ifindex: n.client.Ifindex}
		w.Identities[netip.MustParseAddr(serverAddrs[i])] = plan.Identity{Class: serverClass, Ifindex: n.server.Ifindex}
		w.Services[netip.MustParseAddr(serviceAddrs[i])] = struct{}{}
	}
	for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
		w.PortClasses[protocol][8080] = 1
		w.Ports[plan.PortKey{Set: clientSet, Class: 1, Direction: netpol.Egress, Protocol: protocol}] = plan.Bitmap{1}
		w.Ports[plan.PortKey{Set: serverSet, Class: 1, Direction: netpol.Ingress, Protocol: protocol}] = plan.Bitmap{1}
	}
	return w
}

// serve echoes on a port of the server, TCP and UDP, until the test ends.
func (n *testNode) serve(t *testing.T, port int) {
	t.Helper()
	serve(t, n.server, port, serverAddrs...)
}

// echoing is a socket of the server that echoes datagrams, until the test ends.
func (n *testNode) echoing(t *testing.T, port int) (server net.PacketConn) {
	t.Helper()
	if err := n.server.Do(func() (err error) {
		server, err = net.ListenPacket("udp", net.JoinHostPort(serverAddrs[0], fmt.Sprint(port)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go node.EchoDatagrams(server)
	return server
}

const (
	patience = 300 * time.Millisecond // for what must not come: longer than any answer on one machine takes
	generous = 20 * time.Second       // for what must come: a new pod's addresses are first resolved
)

// connect opens a connection that must be allowed.
func (n *testNode) connect(t *testing.T, network, addr string, port int) net.Conn {
	t.Helper()
	conn, err := n.dial(t, network, addr, port, generous)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// isCut reports whether a connection that must be denied is.
func (n *testNode) isCut(t *testing.T, network, addr string, port int) bool {
	t.Helper()
	conn, err := n.dial(t, network, addr, port, patience)
	if err != nil && !os.IsTimeout(err) {
		t.Fatal(err)
	}
	return err != nil || !answersWithin(conn, patience)
}

func (n *testNode) dial(t *testing.T, network, addr string, port int, wait time.Duration) (net.Conn, error) {
	t.Helper()
	var conn net.Conn
	err := n.client.Do(func() (err error) {
		conn, err = net.DialTimeout(network, net.JoinHostPort(addr, fmt.Sprint(port)), wait)
		return err
	})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// answers reports whether an echo comes back.
func answers(conn net.Conn) bool { return answersWithin(conn, generous) }

func answersWithin(conn net.Conn, wait time.Duration) bool {
	if conn.SetDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	message := fmt.Sprintf("%016x", time.Now().UnixNano())
	if _, err := io.WriteString(conn, message); err != nil {
		return false
	}
	reply := make([]byte, len(message))
	_, err := io.ReadFull(conn, reply)
	return err == nil && string(reply) == message
}

func TestRealSockets(t *testing.T) {
	n := newNode(t, newConfig(t))
	n.serve(t, 8080)
	n.serve(t, 8081)
	if !n.isCut(t, "tcp", serverAddrs[0], 8080) {
		t.Error("connected before any world was loaded")
	}
	load(t, n.Dataplane, n.world(true))
	for _, network := range []string{"tcp", "udp"} {
		for _, addr := range serverAddrs {
			if !answers(n.connect(t, network, addr, 8080)) {
				t.Errorf("%s to %s port 8080: no answer", network, addr)
			}
			if !n.isCut(t, network, addr, 8081) {
				t.Errorf("%s to %s port 8081: connected, though no rule allows it", network, addr)
			}
		}
	}
	flows, lost := drained(t, n.Dataplane)
	if lost != 0 {
		t.Errorf("%d judgements were not recorded", lost)
	}
	checkFlows(t, n, flows)
}

// checkFlows expects both ends' view of 4 allowed connections, and the client's of 4 denied ones.
func checkFlows(t *testing.T, n *testNode, flows []Flow) {
	t.Helper()
	seen := map[string]uint64{}
	for _, f := range flows {
		if f.First.After(f.Last) || time.Since(f.Last) > time.Minute || f.Last.After(time.Now()) {
			t.Errorf("recorded at %s to %s", f.First, f.Last)
		}
		if f.Port == 8080 || f.Port == 8081 {
			seen[fmt.Sprintf("%d %v %v port %d protocol %d", f.Ifindex, f.Direction, f.Verdict, f.Port, f.Protocol)] += f.Connections
		}
	}
	for _, protocol := range []int{tcp, udp} {
		for key, exactly := range map[string]uint64{
			fmt.Sprintf("%d %v allowed port 8080 protocol %d", n.client.Ifindex, netpol.Egress, protocol):  2,
			fmt.Sprintf("%d %v allowed port 8080 protocol %d", n.server.Ifindex, netpol.Ingress, protocol): 2,
			fmt.Sprintf("%d %v denied port 8081 protocol %d", n.client.Ifindex, netpol.Egress, protocol):   0,
			fmt.Sprintf("%d %v denied port 8081 protocol %d", n.server.Ifindex, netpol.Ingress, protocol):  0,
		} {
			got, recorded := seen[key]
			switch {
			case exactly > 0 && got != exactly:
				t.Errorf("%s: %d connections recorded, want %d (all: %v)", key, got, exactly, seen)
			case exactly == 0 && strings.HasPrefix(key, fmt.Sprint(n.client.Ifindex)) != recorded:
				t.Errorf("%s: recorded %v; the client's end alone should drop it", key, recorded)
			}
		}
	}
}

// translate leads the Service to the server, and its port 81 to the node's own network.
func translate(t *testing.T) {
	t.Helper()
	node.Translate(t, serviceAddrs, serverAddrs)
}

func TestServices(t *testing.T) { onEachTopology(t, checkServices) }

func checkServices(t *testing.T, n *testNode) {
	n.serve(t, 8080)
	translate(t)
	load(t, n.Dataplane, n.world(true))
	var open []net.Conn
	for _, network := range []string{"tcp", "udp"} {
		for _, addr := range serviceAddrs {
			conn := n.connect(t, network, addr, 80)
			if !answers(conn) {
				t.Fatalf("%s to Service %s: no answer", network, addr)
			}
			open = append(open, conn)
		}
	}
	flows, _ := drained(t, n.Dataplane)
	for _, f := range flows {
		if f.Protocol != tcp && f.Protocol != udp {
			continue // the node asks for groups of its own accord
		}
		if f.Ifindex == n.client.Ifindex && f.Verdict == Allowed && (f.Port != 8080 || f.Remote.String() != serverAddrs[0] && f.Remote.String() != serverAddrs[1]) {
			t.Errorf("recorded %+v, want the translated destination", f)
		}
	}
	load(t, n.Dataplane, n.world(false))
	for _, conn := range open {
		if answersWithin(conn, patience) {
			t.Errorf("%s connection to Service %s survives its revocation", conn.RemoteAddr().Network(), conn.RemoteAddr())
		}
	}
	if !n.isCut(t, "tcp", serviceAddrs[0], 80) {
		t.Error("connected to a Service whose backend is denied")
	}
	load(t, n.Dataplane, n.world(true))
	if !answers(n.connect(t, "udp", serviceAddrs[1], 80)) {
		t.Error("no answer from the Service after it was allowed again")
	}
}

// Traffic to a backend on the node's own network never passes FORWARD.
func TestServiceOnTheNode(t *testing.T) { onEachTopology(t, checkServiceOnTheNode) }

func checkServiceOnTheNode(t *testing.T, n *testNode) {
	translate(t)
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go node.EchoStreams(listener)
	load(t, n.Dataplane, n.world(true))
	for _, addr := range serviceAddrs {
		if !n.isCut(t, "tcp", addr, 81) {
			t.Errorf("connected to the node through Service %s, though no rule allows it", addr)
		}
	}
	w := n.world(true)
	w.Identities[node.Gateway4] = plan.Identity{Node: true, Class: serverClass}
	w.Identities[node.Gateway6] = plan.Identity{Node: true, Class: serverClass}
	load(t, n.Dataplane, w)
	for _, addr := range serviceAddrs {
		if !answers(n.connect(t, "tcp", addr, 81)) {
			t.Errorf("no answer from the node through Service %s", addr)
		}
	}
}

// After revocation the server's own packets must not reach the client either, though it sends no more.
func TestRevocationStopsPushes(t *testing.T) { onEachTopology(t, checkRevocationStopsPushes) }

func checkRevocationStopsPushes(t *testing.T, n *testNode) {
	translate(t)
	server := n.echoing(t, 8080)
	load(t, n.Dataplane, n.world(true))
	client := n.connect(t, "udp", serviceAddrs[0], 80)
	if !answers(client) {
		t.Fatal("no answer from the Service")
	}
	if !pushes(t, server, client) {
		t.Fatal("a push over an allowed connection did not arrive")
	}
	load(t, n.Dataplane, n.world(false))
	if pushes(t, server, client) {
		t.Error("a push over a revoked connection arrived")
	}
}

// Frames that end within the IP header, which the kernel makes no test run on, sent by a raw socket.
func TestShortFrames(t *testing.T) {
	n := newNode(t, newConfig(t))
	load(t, n.Dataplane, n.world(true))
	sent := uint64(0)
	err := n.client.Do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		for _, packet := range allowedPackets() {
			whole := frame(packet)
			for end := 15; end < ipHeaderEnd(packet); end++ {
				if err := unix.Sendto(socket, whole[:end], 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index}); err != nil {
					return err
				}
				sent++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	malformed := Reason(bpf.DatapathReasonBY_MALFORMATION)
	for deadline := time.Now().Add(generous); ; {
		counters, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if counters.Dropped[malformed] == sent && counters.Passed[malformed] == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d frames dropped as malformed: %+v", counters.Dropped[malformed], sent, counters)
		}
	}
}
