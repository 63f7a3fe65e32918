// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

func TestRestartKeepsConnectionsAndEnforcement(t *testing.T) {
	config := newConfig(t)
	n := newNode(t, config)
	n.serve(t, 8080)
	first := load(t, n.Dataplane, n.world(true))
	conn := n.connect(t, "tcp", serverAddrs[0], 8080)
	check := func(when string) {
		t.Helper()
		if !answers(conn) {
			t.Errorf("%s: the open connection is cut", when)
		}
		if !n.isCut(t, "tcp", serverAddrs[1], 8081) {
			t.Errorf("%s: a denied connection opened", when)
		}
		if !answers(n.connect(t, "tcp", serverAddrs[1], 8080)) {
			t.Errorf("%s: an allowed connection does not open", when)
		}
	}
	check("before")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	check("with no agent")
	n.Dataplane = open(t, config)
	check("after the restart")
	if second := load(t, n.Dataplane, n.world(true)); second != first+1 {
		t.Errorf("generation %d after %d", second, first)
	}
	check("after the first world of the new run")
	checkLinks(t, n)
	n.Close()

	// Another size is another layout: new maps, which take over at the first Load.
	config.Connections *= 2
	n.Dataplane = open(t, config)
	check("with maps of another layout beside")
	load(t, n.Dataplane, n.world(true))
	check("after they took over")
	checkLinks(t, n)
	if dirs, err := filepath.Glob(filepath.Join(config.PinPath, mapsPrefix+"*")); err != nil || len(dirs) != 1 {
		t.Errorf("maps are left in %v: %v", dirs, err)
	}
}

// checkLinks expects one link a hook, and the pods' devices.
func checkLinks(t *testing.T, n *testNode) {
	t.Helper()
	attached, err := n.Attached()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifindex := range []uint32{n.client.Ifindex, n.server.Ifindex} {
		if !slices.Contains(attached, ifindex) {
			t.Errorf("attached to %v, not to %d", attached, ifindex)
		}
	}
	entries, err := os.ReadDir(n.pins.links)
	if err != nil {
		t.Fatal(err)
	}
	hooks := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "netfilter-") {
			hooks++
		}
	}
	if hooks != len(netfilterHooks) {
		t.Errorf("%d netfilter links, want %d: %v", hooks, len(netfilterHooks), entries)
	}
}

func TestOneProcessDrivesADatapath(t *testing.T) {
	config := newConfig(t)
	open(t, config)
	if d, err := Open(config); err == nil {
		d.Close()
		t.Error("opened twice")
	} else if !strings.Contains(err.Error(), "another process") {
		t.Error(err)
	}
	if d, err := Open(newConfig(t)); err == nil {
		d.Close()
		t.Error("two datapaths in one network namespace")
	} else if !strings.Contains(err.Error(), "another datapath judges there") {
		t.Error(err)
	}
}

func TestAttachAndDetach(t *testing.T) {
	n := newNode(t, newConfig(t))
	n.serve(t, 8080)
	load(t, n.Dataplane, n.world(false))
	if err := n.Attach(n.client.Ifindex); err != nil {
		t.Errorf("attach again: %v", err)
	}
	if err := n.Attach(1 << 20); err == nil || !strings.Contains(err.Error(), "interface 1048576") {
		t.Errorf("attach to no device: %v", err)
	}
	if !n.isCut(t, "tcp", serverAddrs[0], 8080) {
		t.Error("connected while attached")
	}
	for _, ifindex := range []uint32{n.client.Ifindex, n.server.Ifindex, 1 << 20} {
		if err := n.Detach(ifindex); err != nil {
			t.Error(err)
		}
	}
	// The client's egress is still judged at FORWARD as long as the world has it as an endpoint.
	load(t, n.Dataplane, &plan.World{})
	if !answers(n.connect(t, "tcp", serverAddrs[0], 8080)) {
		t.Error("no connection after detaching")
	}
	n.server.RemoveLink()
	load(t, n.Dataplane, n.world(false))
	if attached, err := n.Attached(); err != nil || len(attached) != 0 {
		t.Errorf("attached to %v: %v", attached, err)
	}
}

// A server may answer whoever opened the connection, and open none itself. Maps of another layout must know who did.
func TestUpgradeKnowsWhoOpenedConnections(t *testing.T) {
	config := newConfig(t)
	n := newNode(t, config)
	server := n.echoing(t, 8080)
	load(t, n.Dataplane, n.world(true))
	client := n.connect(t, "udp", serverAddrs[0], 8080)
	if !answers(client) {
		t.Fatal("no answer")
	}
	for _, allowed := range []bool{true, false} {
		n.Close()
		config.Connections += 4096
		n.Dataplane = open(t, config)
		load(t, n.Dataplane, n.world(allowed))
		if arrived := pushes(t, server, client); arrived != allowed {
			t.Errorf("connections are allowed: %v; what the server says first arrives: %v", allowed, arrived)
		}
	}
}

// pushes reports whether the client receives what the server says without being asked.
func pushes(t *testing.T, server net.PacketConn, client net.Conn) bool {
	t.Helper()
	to := &net.UDPAddr{IP: net.ParseIP(clientAddrs[0]), Port: client.LocalAddr().(*net.UDPAddr).Port}
	if _, err := server.WriteTo([]byte("push"), to); err != nil {
		return false
	}
	if err := client.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Read(make([]byte, 16))
	return err == nil
}

func TestLostDevicesAreForgotten(t *testing.T) {
	config := newConfig(t)
	n := newNode(t, config)
	n.Close()
	n.server.RemoveLink()
	n.Dataplane = open(t, config)
	load(t, n.Dataplane, n.world(true))
	if attached, err := n.Attached(); err != nil || !slices.Equal(attached, []uint32{n.client.Ifindex}) {
		t.Errorf("attached to %v: %v, want %d", attached, err, n.client.Ifindex)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	config := newConfig(t)
	n := newNode(t, config)
	n.serve(t, 8080)
	load(t, n.Dataplane, n.world(false))
	if !n.isCut(t, "tcp", serverAddrs[0], 8080) {
		t.Error("connected while enforced")
	}
	if err := n.Remove(); err != nil {
		t.Error(err)
	}
	if !answers(n.connect(t, "tcp", serverAddrs[0], 8080)) {
		t.Error("no connection after removal")
	}
	if _, err := os.Stat(config.PinPath); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", config.PinPath, err)
	}
	if err := Remove(config.PinPath); err != nil {
		t.Errorf("remove again: %v", err)
	}
}

func TestPinPathMustBeAbsolute(t *testing.T) {
	if d, err := Open(Config{PinPath: "bpf"}); err == nil {
		d.Close()
		t.Error("opened a relative path")
	} else if !strings.Contains(err.Error(), `pin path "bpf"`) {
		t.Error(err)
	}
}
