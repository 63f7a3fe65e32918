// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// realCluster is a cluster of which node "here" is real: its pods are network namespaces, all in namespace shop.
type realCluster struct {
	*Dataplane
	objects netpol.Objects
	pods    map[string]*node.Pod
	own     []netip.Addr // the node's
}

// clusterObjects are the node, and the namespace with its pods: a client, two servers and a stranger.
const clusterObjects = `
{apiVersion: v1, kind: Node, metadata: {name: here}, status: {addresses: [{type: InternalIP, address: 10.99.0.1}, {type: InternalIP, address: "fd99::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: client, labels: {app: client}}, spec: {nodeName: here}, status: {podIPs: [{ip: 10.99.1.1}, {ip: "fd99:1::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: server, labels: {app: server, web: "yes"}}, spec: {nodeName: here, containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}, status: {podIPs: [{ip: 10.99.1.2}, {ip: "fd99:1::2"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: other, labels: {app: other, web: "yes"}}, spec: {nodeName: here}, status: {podIPs: [{ip: 10.99.1.3}, {ip: "fd99:1::3"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: stranger, labels: {app: stranger}}, spec: {nodeName: here}, status: {podIPs: [{ip: 10.99.1.4}, {ip: "fd99:1::4"}]}}
`

// defaultDeny isolates every pod both ways.
const defaultDeny = `
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {namespace: shop, name: default-deny}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}
`

// newCluster makes the pods of node "here" and attaches them. Objects are YAML documents.
func newCluster(t *testing.T, config Config, documents ...string) *realCluster {
	t.Helper()
	c := newBareCluster(t, config, documents...)
	c.attach(t)
	return c
}

// newBareCluster makes the pods, which nobody judges yet.
func newBareCluster(t *testing.T, config Config, documents ...string) *realCluster {
	t.Helper()
	c := &realCluster{
		Dataplane: open(t, config), pods: map[string]*node.Pod{}, own: []netip.Addr{node.Gateway4, node.Gateway6},
		objects: parse(t, append([]string{clusterObjects}, documents...)...),
	}
	for _, p := range c.objects.Pods {
		c.pods[p.Name] = node.NewPod(t, p.Name, addressesOf(p)...)
	}
	return c
}

// attach puts all pods under the cluster's policies; each is attached before its first world is loaded.
func (c *realCluster) attach(t *testing.T) {
	t.Helper()
	for _, pod := range c.pods {
		if err := c.Attach(pod.Ifindex); err != nil {
			t.Fatal(err)
		}
	}
	load(t, c.Dataplane, c.world(t))
}

func parse(t *testing.T, documents ...string) (all netpol.Objects) {
	t.Helper()
	for _, d := range documents {
		o, err := corpus.ParseObjects([]byte(d))
		if err != nil {
			t.Fatalf("%v in %s", err, d)
		}
		all.Nodes, all.Pods = append(all.Nodes, o.Nodes...), append(all.Pods, o.Pods...)
		all.Services, all.Policies = append(all.Services, o.Services...), append(all.Policies, o.Policies...)
		all.ClusterPolicies = append(all.ClusterPolicies, o.ClusterPolicies...)
	}
	return all
}

func addressesOf(p *corev1.Pod) (all []string) {
	for _, ip := range p.Status.PodIPs {
		all = append(all, ip.IP)
	}
	return all
}

// world is what the enforcer makes of the objects.
func (c *realCluster) world(t *testing.T) *plan.World {
	t.Helper()
	snapshot, err := netpol.Compile(c.objects)
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{NodeAddrs: c.own}
	for _, p := range c.objects.Pods {
		if pod := c.pods[p.Name]; pod != nil {
			in.Endpoints = append(in.Endpoints, plan.EndpointInput{
				Pod: types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, Ifindex: pod.Ifindex, Mode: plan.Enforce,
			})
		}
	}
	for _, s := range c.objects.Services {
		in.ServiceAddrs = append(in.ServiceAddrs, netpol.ServiceAddresses(s)...)
	}
	world, err := plan.Build(snapshot, in)
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// apply loads the cluster with other policies.
func (c *realCluster) apply(t *testing.T, policies ...string) {
	t.Helper()
	o := parse(t, policies...)
	c.objects.Policies, c.objects.ClusterPolicies = o.Policies, o.ClusterPolicies
	load(t, c.Dataplane, c.world(t))
}

// within runs fn in the network of a pod; nil is the node.
func within(pod *node.Pod, fn func() error) error {
	if pod == nil {
		return fn()
	}
	return pod.Do(fn)
}

// serve echoes on a port, TCP and UDP, until the test ends.
func serve(t *testing.T, pod *node.Pod, port int, addrs ...string) {
	t.Helper()
	err := within(pod, func() error {
		for _, addr := range addrs {
			listener, err := net.Listen("tcp", net.JoinHostPort(addr, fmt.Sprint(port)))
			if err != nil {
				return err
			}
			t.Cleanup(func() { listener.Close() })
			go node.EchoStreams(listener)
			conn, err := net.ListenPacket("udp", net.JoinHostPort(addr, fmt.Sprint(port)))
			if err != nil {
				return err
			}
			t.Cleanup(func() { conn.Close() })
			go node.EchoDatagrams(conn)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (c *realCluster) serve(t *testing.T, name string, port int) {
	t.Helper()
	addrs := make([]string, 0, 2)
	for _, a := range c.pods[name].Addrs {
		addrs = append(addrs, a.String())
	}
	serve(t, c.pods[name], port, addrs...)
}

// attempt is one connection that is tried.
type attempt struct {
	from    *node.Pod // nil: the node
	network string
	to      string // host:port
	size    int    // of the message, in bytes; 0: short
	port    int    // to dial from; 0: any
}

// answered reports whether an echo comes back in time: generously long for what must come, and only as long as is
// needed for what must not.
func (a attempt) answered(want bool) (bool, error) {
	wait := patience
	if want {
		wait = generous
	}
	var conn net.Conn
	err := within(a.from, func() (err error) {
		dialer := net.Dialer{Timeout: wait, LocalAddr: &net.TCPAddr{Port: a.port}}
		if a.network == "udp" {
			dialer.LocalAddr = &net.UDPAddr{Port: a.port}
		}
		conn, err = dialer.Dial(a.network, a.to)
		return err
	})
	if err != nil {
		if os.IsTimeout(err) || errors.Is(err, unix.ECONNREFUSED) {
			err = nil
		}
		return false, err
	}
	defer conn.Close()
	return echoes(conn, max(16, a.size), wait), nil
}

// echoes sends a message and waits for all of it to come back.
func echoes(conn net.Conn, size int, wait time.Duration) bool {
	if conn.SetDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	message := slices.Repeat([]byte("0123456789abcdef"), (size+15)/16)[:size]
	go func() { _, _ = conn.Write(message) }() // what does not arrive is what is asked
	reply := make([]byte, 0, size)
	for len(reply) < size {
		n, err := conn.Read(reply[len(reply):size])
		if err != nil {
			return false
		}
		reply = reply[:len(reply)+n]
	}
	return slices.Equal(reply, message)
}

// must try all at once, because what is denied is waited for.
func must(t *testing.T, wanted map[string]attemptWanted) {
	t.Helper()
	type result struct {
		name string
		got  bool
		err  error
	}
	results := make(chan result)
	for name, a := range wanted {
		go func() {
			got, err := a.answered(a.want)
			results <- result{name, got, err}
		}()
	}
	for range wanted {
		r := <-results
		if r.err != nil || r.got != wanted[r.name].want {
			t.Errorf("%s: answered %v, want %v (%v)", r.name, r.got, wanted[r.name].want, r.err)
		}
	}
}

type attemptWanted struct {
	attempt
	want bool
}
