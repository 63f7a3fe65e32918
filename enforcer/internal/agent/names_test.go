// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// outside is an address that is no pod's.
var outside = netip.MustParseAddr("192.0.2.9")

// TestFlowsNameServicesAndHosts has a pod find a Service and a host through the cluster's DNS, with kube-proxy's rules
// in between, and reads of it with Hubble's own command.
func TestFlowsNameServicesAndHosts(t *testing.T) {
	const nodeName = "node-names"
	binary, err := cluster.Tool(t.Context(), "hubble", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, "namesshop", "audit")
	client, liar := node.NewPod(t, "vnameclient", "10.99.31.2"), node.NewPod(t, "vnameliar", "10.99.31.3")
	api, dns := node.NewPod(t, "vnameapi", "10.99.31.4"), node.NewPod(t, "vnamedns", "10.99.31.5")
	for name, p := range map[string]*node.Pod{"client": client, "liar": liar, "api": api} {
		createPod(t, nodeName, "namesshop", name, nil, p)
	}
	createPod(t, nodeName, "kube-system", "names-coredns", nil, dns)
	web := createService(t, "namesshop", "web", "api", 80, corev1.ProtocolTCP)
	servers := createService(t, "kube-system", "names-coredns", "names-coredns", 53, corev1.ProtocolUDP)
	translate(t, web, 80, "10.99.31.4:3000", servers, 53, "10.99.31.5:53")
	echo(t, api, 3000)
	serveOutside(t, 3000)
	serveDNS(t, dns, web, "api.example.com.", "edge.example.net.")
	serveDNS(t, liar, web, "bank.example.com.", "edge.example.net.")
	pins := t.TempDir() + "/bpf"
	stop := start(t, nodeName, func(c *agent.Config) { c.DNSNames, c.PinPath, c.CleanUp = true, pins, false })
	h := hubbleCLI{binary: binary, tls: []string{"--server=" + hubbleAddr}}

	lookUp(t, client, liar.Addrs[0], "bank.example.com.") // not the cluster's DNS
	for name, port := range map[string]uint16{"web.namesshop.svc.cluster.local.": 80, "API.example.com.": 3000} {
		if err := reach(client, lookUp(t, client, servers, name), port); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := reach(liar, outside, 3000); err != nil {
		t.Fatal(err)
	}
	const egress = "observe --from-pod namesshop/client --traffic-direction egress --protocol tcp -o json"
	out := h.prints(t, egress+" --to-pod namesshop/api", `"destination_service":{"name":"web","namespace":"namesshop"}`)
	if strings.Contains(out, "destination_names") {
		t.Errorf("a pod is named by DNS: %s", out)
	}
	out = h.prints(t, egress+" --to-ip 192.0.2.9", `"destination_names":["api.example.com"]`)
	if strings.Contains(out, "bank") || strings.Contains(out, "destination_service") {
		t.Errorf("got %s", out)
	}
	out = h.prints(t, "observe --from-pod namesshop/liar --to-ip 192.0.2.9 -o json", `"destination":"192.0.2.9"`)
	if strings.Contains(out, "example.com") {
		t.Errorf("a pod that asked nothing is given another's name: %s", out)
	}
	h.prints(t, "observe --from-pod namesshop/client --protocol udp -o json", `"destination_service":{"name":"names-coredns","namespace":"kube-system"}`)
	wantMetric(t, "bulkhead_enforcer_dns_names 2")
	stop()

	start(t, nodeName, func(c *agent.Config) { c.PinPath = pins })
	if err := reach(client, lookUp(t, client, servers, "api.example.com."), 3000); err != nil {
		t.Fatal(err)
	}
	if out = h.prints(t, egress+" --to-ip 192.0.2.9", `"destination":"192.0.2.9"`); strings.Contains(out, "example.com") {
		t.Errorf("names are switched off: %s", out)
	}
	wantMetric(t, "bulkhead_enforcer_dns_names 0")
}

func wantMetric(t *testing.T, line string) {
	t.Helper()
	if _, body, err := get("http://" + httpAddr + "/metrics"); err != nil || !strings.Contains(body, "\n"+line+"\n") {
		t.Errorf("no %s in the metrics (%v)", line, err)
	}
}

// createService makes one for the pods app=app, and returns its address.
func createService(t *testing.T, namespace, name, app string, port int32, protocol corev1.Protocol) netip.Addr {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.Selector, s.Spec.Ports = map[string]string{"app": app}, []corev1.ServicePort{{Port: port, Protocol: protocol}}
	s, err := admin.CoreV1().Services(namespace).Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.CoreV1().Services(namespace).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return netip.MustParseAddr(s.Spec.ClusterIP)
}

// translate does what kube-proxy would do for a TCP Service and a UDP one.
func translate(t *testing.T, web netip.Addr, webPort int, webTo string, dns netip.Addr, dnsPort int, dnsTo string) {
	t.Helper()
	node.LoadTable(t, "names", fmt.Sprintf(`chain services {
  type nat hook prerouting priority dstnat;
  ip daddr %s tcp dport %d dnat ip to %s
  ip daddr %s udp dport %d dnat ip to %s
}`, web, webPort, webTo, dns, dnsPort, dnsTo))
}

// serveOutside answers at an address that nothing in the cluster has.
func serveOutside(t *testing.T, port uint16) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: outside.AsSlice(), Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrAdd(lo, addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.AddrDel(lo, addr); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", netip.AddrPortFrom(outside, port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go node.EchoStreams(l)
}

// serveDNS answers in a pod, until the test ends: host is an alias of edge, which is outside, and all else is web.
func serveDNS(t *testing.T, p *node.Pod, web netip.Addr, host, edge string) {
	t.Helper()
	var conn net.PacketConn
	err := p.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", ":53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := answerDNS(buffer[:n], web, host, edge); err == nil {
				_, _ = conn.WriteTo(answer, from) // who asked will miss it
			}
		}
	}()
}

func answerDNS(question []byte, web netip.Addr, host, edge string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	name := m.Questions[0].Name
	head := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 30}
	if strings.EqualFold(name.String(), host) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(edge)}})
		head.Name, web = dnsmessage.MustNewName(edge), outside
	}
	m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: web.As4()}})
	return m.Pack()
}

// lookUp asks a server from within a pod.
func lookUp(t *testing.T, p *node.Pod, server netip.Addr, name string) netip.Addr {
	t.Helper()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
		err = p.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, "udp", netip.AddrPortFrom(server, 53).String())
			return err
		})
		return c, err
	}}
	addrs, err := resolver.LookupNetIP(t.Context(), "ip4", name)
	if err != nil || len(addrs) != 1 {
		t.Fatalf("%s: %v, %v", name, addrs, err)
	}
	return addrs[0].Unmap()
}
