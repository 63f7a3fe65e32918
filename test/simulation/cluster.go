// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// node is one machine.
type node struct {
	name         string
	addr         netip.Addr
	inner        netip.Addr // with which it talks to pods of other nodes; addr, unless there is a tunnel between them
	controlPlane bool
	skew         time.Duration // of its clock
	index        int
}

// pod is one pod, at the only address that it had.
type pod struct {
	*workload
	name     string
	revision string // of its template; a run, for a CronJob
	labels   map[string]string
	node     *node
	addr     netip.Addr // the node's, on its network
	// start and end of its life; end is after the simulation if it still runs then.
	start, end time.Time
}

func (p *pod) alive(t time.Time) bool { return !t.Before(p.start) && t.Before(p.end) }

// cluster is everything that an application needs to run, over the whole time.
type cluster struct {
	Options
	app   *Application
	nodes []*node // the control plane's is the last
	pods  []*pod  // in order of start
	of    map[*workload][]*pod
	end   time.Time
}

func newCluster(app *Application, o Options) *cluster {
	c := &cluster{Options: o, app: app, of: map[*workload][]*pod{}, end: o.Start.Add(o.Duration)}
	skews := o.stream("clocks")
	for i := range o.Nodes + 1 {
		n := &node{name: fmt.Sprintf("node-%d", i+1), addr: o.address(172, 18, 0, byte(i+2)), index: i}
		n.inner = n.addr
		if o.Tunnel {
			n.inner = o.address(10, byte(firstRange+i), 0, 1)
		}
		if i == o.Nodes {
			n.name, n.controlPlane = "control-plane", true
		}
		if o.Skew > 0 {
			n.skew = time.Duration(skews.Int64N(int64(2*o.Skew))) - o.Skew
		}
		c.nodes = append(c.nodes, n)
	}
	c.numberServices()
	for _, w := range app.workloads {
		c.pods = append(c.pods, c.live(w)...)
	}
	slices.SortStableFunc(c.pods, func(a, b *pod) int { return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.name, b.name)) })
	c.assignAddresses()
	for _, p := range c.pods {
		c.of[p.workload] = append(c.of[p.workload], p)
	}
	return c
}

// numberServices gives each Service its address; those that everybody knows have theirs already.
func (c *cluster) numberServices() {
	next := c.address(10, 96, 0, 20)
	for _, s := range c.app.services {
		if s.headless() {
			continue
		}
		if s.Spec.ClusterIP == "" {
			s.Spec.ClusterIP = next.String()
			next = next.Next()
		}
		s.addr = c.mapped(netip.MustParseAddr(s.Spec.ClusterIP))
		s.Spec.ClusterIP, s.Spec.IPFamilies = s.addr.String(), c.families()
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	}
}

// firstRange is the second byte of the first node's range of addresses for pods: 10.100.0.0/16.
const firstRange = 100

// reuse is how soon an address is given to another pod.
const reuse = time.Second

// assignAddresses gives each pod the lowest address of its node that nobody has, as soon as it may be used again.
func (c *cluster) assignAddresses() {
	taken := map[netip.Addr]time.Time{} // until when
	for _, p := range c.pods {
		if p.hostNetwork() {
			p.addr = p.node.addr
			continue
		}
		addr := c.address(10, byte(firstRange+p.node.index), 0, 10)
		for taken[addr].After(p.start) {
			addr = addr.Next()
		}
		p.addr = addr
		taken[addr] = p.end.Add(reuse)
	}
}

// alive are the pods of a workload at a time.
func (c *cluster) alive(w *workload, t time.Time) (alive []*pod) {
	for _, p := range c.of[w] {
		if p.alive(t) {
			alive = append(alive, p)
		}
	}
	return alive
}

// inside changes the address of a node that talks to a pod of another one through a tunnel.
func (c *connection) inside() {
	if c.from.pod == nil && c.from.node != nil && c.to.pod != nil && c.from.node != c.to.node {
		c.from.addr = c.from.node.inner
	}
}

// workers are the nodes that run pods.
func (c *cluster) workers() []*node { return c.nodes[:len(c.nodes)-1] }

func (c *cluster) controlPlane() *node { return c.nodes[len(c.nodes)-1] }

// withDNSPort changes the port at which the DNS pods listen; their Service keeps its own.
func (a *Application) withDNSPort(port uint16) error {
	w, err := a.workload(dnsWorkload)
	if err != nil {
		return err
	}
	ports := w.template.Spec.Containers[0].Ports // shared with the object
	for i := range ports {
		if ports[i].Name == "dns" || ports[i].Name == "dns-tcp" {
			ports[i].ContainerPort = int32(port)
		}
	}
	return nil
}

// The cluster's DNS.
const (
	dnsWorkload = "kube-system/coredns"
	dnsService  = "kube-system/kube-dns"
	dnsPort     = 53 // the Service's
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
