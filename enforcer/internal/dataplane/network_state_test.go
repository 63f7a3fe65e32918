// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/bpf"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// Pitfall 2: connections that were open before the pods were attached go on if policies allow them, whoever speaks
// first, and end if they do not.
func TestOpenConnectionsAreTakenOver(t *testing.T) {
	c := newBareCluster(t, newConfig(t), clientToServer)
	type pair struct{ client, server net.Conn }
	open := func(to string) pair {
		t.Helper()
		var listener net.Listener
		if err := c.pods[to].Do(func() (err error) {
			listener, err = net.Listen("tcp", net.JoinHostPort(c.pods[to].Addrs[0].String(), "8080"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		var p pair
		if err := c.pods["client"].Do(func() (err error) {
			p.client, err = net.DialTimeout("tcp", listener.Addr().String(), generous)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var err error
		if p.server, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.client.Close(); p.server.Close() })
		return p
	}
	asks, tells, denied := open("server"), open("server"), open("other")
	c.attach(t)
	for _, k := range []struct {
		name     string
		from, to net.Conn
		passes   bool
	}{
		{"the client first", asks.client, asks.server, true},
		{"the server first", tells.server, tells.client, true},
		{"its answer", tells.client, tells.server, true},
		{"the client to a pod that it may not reach", denied.client, denied.server, false},
		{"that pod to the client", denied.server, denied.client, false},
	} {
		if got := arrives(t, k.from, k.to, k.passes); got != k.passes {
			t.Errorf("%s: arrived %v, want %v", k.name, got, k.passes)
		}
	}
}

// arrives reports whether something that is written at one end can be read at the other.
func arrives(t *testing.T, from, to net.Conn, want bool) bool {
	t.Helper()
	wait := patience
	if want {
		wait = generous
	}
	if _, err := from.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := to.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err := to.Read(make([]byte, 1))
	if err != nil && !os.IsTimeout(err) {
		t.Fatal(err)
	}
	return err == nil
}

// Pitfall 4: entries make room for others and expire without a collector, so nothing races with traffic. While far
// more connections come than there is room for, the open ones lose nothing.
func TestFullTableKeepsOpenConnections(t *testing.T) {
	config := newConfig(t)
	config.Connections = 512
	c := newCluster(t, config, clientToServer)
	c.serve(t, "server", 8080)
	client, server := c.pods["client"], c.pods["server"]
	var open []net.Conn
	for _, network := range []string{"tcp", "udp"} {
		if err := client.Do(func() error {
			conn, err := net.DialTimeout(network, net.JoinHostPort(server.Addrs[0].String(), "8080"), generous)
			open = append(open, conn)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	l := &lab{Dataplane: c.Dataplane, context: make([]byte, contextSize)}
	for round := range 20 {
		for i := range 1000 {
			datagram := packetBetween(client.Addrs[1], server.Addrs[1], udp, udpDatagram(uint16(20000+round*1000+i), 8080))
			if passed, err := l.send(place{hook: fromPod, device: client.Ifindex}, frame(datagram)); err != nil || !passed {
				t.Fatalf("connection %d of round %d: passed %v: %v", i, round, passed, err)
			}
		}
		for _, conn := range open {
			if !answers(conn) {
				t.Fatalf("the open %s connection is cut in round %d", conn.LocalAddr().Network(), round)
			}
		}
	}
	for _, conn := range open {
		conn.Close()
	}
}

// Pitfall 4, too: an entry that was idle for too long lets no reply in. To read entries makes none younger.
func TestIdleConnectionsEnd(t *testing.T) {
	d := newDataplane(t)
	load(t, d, newWorld(plan.Enforce))
	request := ipPacket(v4.pod, v4.friend, udp, udpDatagram(1, dnsPort))
	reply := ipPacket(v4.friend, v4.pod, udp, udpDatagram(dnsPort, 1))
	age := func(by time.Duration) {
		t.Helper()
		var (
			key   bpf.DatapathConnectionKey
			value bpf.DatapathConnection
		)
		entries := d.objs.Connections.Iterate()
		for entries.Next(&key, &value) {
			value.LastSeen -= uint64(by)
			if err := d.objs.Connections.Put(key, value); err != nil {
				t.Fatal(err)
			}
		}
		if err := entries.Err(); err != nil {
			t.Fatal(err)
		}
	}
	d.play(t, []step{{fromPod, request, pass}, {toPod, reply, pass}})
	age(2 * time.Minute)
	d.play(t, []step{{toPod, reply, pass}}) // and is young again
	age(2 * time.Minute)
	d.play(t, []step{{toPod, reply, pass}})
	age(4 * time.Minute)
	d.play(t, []step{{toPod, reply, drop}, {fromPod, request, pass}, {toPod, reply, pass}})
}

// Pitfall 7: a pod that gets the address of one that is gone, at once and with other labels, is never judged by what
// the other one was allowed or had opened, neither before nor after the world knows of it.
func TestAddressIsUsedAgain(t *testing.T) {
	c := newCluster(t, newConfig(t), clientToServer)
	var server net.PacketConn
	if err := c.pods["server"].Do(func() (err error) {
		server, err = net.ListenPacket("udp", net.JoinHostPort(c.pods["server"].Addrs[0].String(), "8080"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go node.EchoDatagrams(server)
	const port = 5000
	heir := clientSocket(t, c.pods["client"], port)
	to := server.LocalAddr()
	if !exchanges(t, heir, to, true) {
		t.Fatal("no answer while the client is there")
	}
	heir.Close()
	gone := time.Now()
	c.pods["client"].RemoveLink()
	pod := node.NewPod(t, "heir", addressesOf(c.pod("client"))...)
	if err := c.Attach(pod.Ifindex); err != nil {
		t.Fatal(err)
	}
	heir = clientSocket(t, pod, port)
	check := func(when string, want bool) {
		t.Helper()
		if _, err := server.WriteTo([]byte("push"), heir.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if exchanges(t, heir, to, want) != want {
			t.Errorf("%s: answered %v, want %v", when, !want, want)
		}
	}
	check("before the world knows of it", false)
	t.Logf("the address was used again after at most %s", time.Since(gone)-patience)
	delete(c.pods, "client")
	c.pods["heir"] = pod
	c.pod("client").Name = "heir"
	c.pod("heir").Labels = map[string]string{"app": "heir"}
	load(t, c.Dataplane, c.world(t))
	check("with labels that nothing allows", false)
	c.pod("heir").Labels = map[string]string{"app": "client"}
	load(t, c.Dataplane, c.world(t))
	check("with the client's labels", true)
}

// pod is an object of the cluster.
func (c *realCluster) pod(name string) *corev1.Pod {
	return c.objects.Pods[slices.IndexFunc(c.objects.Pods, func(p *corev1.Pod) bool { return p.Name == name })]
}

func clientSocket(t *testing.T, pod *node.Pod, port int) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	if err := pod.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: pod.Addrs[0].AsSlice(), Port: port})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchanges reports whether anything comes in after something was sent.
func exchanges(t *testing.T, conn net.PacketConn, to net.Addr, want bool) bool {
	t.Helper()
	wait := patience
	if want {
		wait = generous
	}
	if _, err := conn.WriteTo([]byte("hello"), to); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, _, err := conn.ReadFrom(make([]byte, 100))
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}
