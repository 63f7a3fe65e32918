// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// generator makes clusters and connections at random. Its universe is small, so that what it makes
// often matches. Addresses that two owners would dispute, and names given twice, are made only where
// the documentation says who wins.
type generator struct {
	*rand.Rand
	faults int // of 100 parts of a policy that could have a fault
}

// newGenerator is the generator of one cluster: the same arguments, the same cluster.
func newGenerator(seed, cluster uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, cluster))}
	if g.percent(50) {
		g.faults = 1 + g.IntN(12)
	}
	return g
}

func (g *generator) percent(n int) bool { return g.IntN(100) < n }

// fault is whether the next part shall have one.
func (g *generator) fault() bool { return g.faults > 0 && g.percent(g.faults) }

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// some are up to n parts, each made anew.
func some[T any](g *generator, n int, one func() T) []T {
	var all []T
	for range g.IntN(n + 1) {
		all = append(all, one())
	}
	return all
}

func (g *generator) objects() netpol.Objects {
	var objs netpol.Objects
	for _, name := range []string{"a", "b", "c"} {
		if g.percent(75) {
			ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
			ns.Name, ns.Labels = name, g.labels("team", "env")
			if g.percent(20) {
				ns.Labels[corev1.LabelMetadataName] = pick(g, "a", "b", "c")
			}
			objs.Namespaces = append(objs.Namespaces, ns)
		}
	}
	for i := 1; i <= 2; i++ {
		if g.percent(80) {
			objs.Nodes = append(objs.Nodes, g.node(i))
		}
	}
	for i := range 4 + g.IntN(4) {
		objs.Pods = append(objs.Pods, g.pod(i))
	}
	for i := range g.IntN(4) {
		objs.Services = append(objs.Services, g.service(i, pick(g, objs.Pods...)))
	}
	g.addPolicies(&objs)
	g.Shuffle(len(objs.Pods), func(i, j int) { objs.Pods[i], objs.Pods[j] = objs.Pods[j], objs.Pods[i] })
	return objs
}

func (g *generator) labels(keys ...string) map[string]string {
	set := map[string]string{}
	for _, k := range keys {
		if g.percent(60) {
			set[k] = pick(g, "x", "x", "y", "")
		}
	}
	return set
}

func (g *generator) node(i int) *corev1.Node {
	n := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
	n.Name = fmt.Sprintf("n%d", i)
	for _, a := range []string{n.Name, fmt.Sprintf("10.0.1.%d", i), fmt.Sprintf("::ffff:10.0.1.%d", i+4), fmt.Sprintf("fd00::1:%d", i)} {
		if g.percent(70) {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
	}
	return n
}

func (g *generator) pod(i int) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}
	p.Namespace, p.Name = pick(g, "a", "a", "a", "b", "c"), fmt.Sprintf("p%d", i)
	p.Labels = g.labels("app", "env", "example.com/tier")
	p.Spec.NodeName = pick(g, "n1", "n2", "n3", "")
	p.Status.Phase = pick(g, corev1.PodRunning, corev1.PodRunning, corev1.PodRunning, corev1.PodPending, "")
	four, six := fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("fd00::%d", i+1)
	if g.percent(15) { // on the network of its node; of one that has no Node, too
		p.Spec.HostNetwork = true
		four, six = "10.0.2."+p.Name[1:], "fd00::2:"+p.Name[1:]
		if node := p.Spec.NodeName; node == "n1" || node == "n2" {
			four, six = "10.0.1."+node[1:], "fd00::1:"+node[1:]
		} else if node == "" && g.percent(50) {
			four = "10.0.1.1"
		}
	} else if i == 0 && g.percent(10) { // at the address of a node, which a pod keeps
		four, six = "10.0.1.1", "fd00::1:2"
	}
	if g.percent(8) { // gone, and its address perhaps with another
		p.Status.Phase = pick(g, corev1.PodSucceeded, corev1.PodFailed)
		four = fmt.Sprintf("10.0.0.%d", 1+g.IntN(8))
	}
	g.addresses(p, four, six)
	for range g.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, g.container())
	}
	if g.percent(30) {
		c := g.container()
		c.RestartPolicy = pick(g, nil, new(corev1.ContainerRestartPolicyAlways), new(corev1.ContainerRestartPolicyOnFailure))
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	return p
}

// addresses are one or both, in either order, written in any of the ways that a status can have.
func (g *generator) addresses(p *corev1.Pod, four, six string) {
	if g.percent(5) {
		four = "::ffff:" + four
	}
	all := pick(g, []string{four}, []string{six}, []string{four, six}, []string{four, six}, []string{six, four}, []string{four, four, six}, []string{"pending", four}, nil)
	if all != nil && g.percent(80) {
		p.Status.PodIP = all[0]
	}
	if len(all) > 1 || len(all) == 1 && p.Status.PodIP == "" {
		for _, a := range all {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a})
		}
	}
}

func (g *generator) container() corev1.Container {
	return corev1.Container{Name: "c", Ports: some(g, 2, func() corev1.ContainerPort {
		return corev1.ContainerPort{
			Name: pick(g, "http", "http", "dns", ""), ContainerPort: pick[int32](g, 53, 80, 80, 8080, 8080, 1, 65535, 0, 65536, 65536+80, -1),
			Protocol: pick(g, "", corev1.ProtocolTCP, corev1.ProtocolUDP),
		}
	})}
}

// service has the given pod behind it, mostly.
func (g *generator) service(i int, pod *corev1.Pod) *corev1.Service {
	s := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}}
	s.Namespace, s.Name = pick(g, pod.Namespace, pod.Namespace, pod.Namespace, "b"), fmt.Sprintf("s%d", i)
	if g.percent(90) {
		key := "env"
		if pod.Labels["app"] != "" {
			key = "app"
		}
		s.Spec.Selector = map[string]string{key: pick(g, pod.Labels[key], pod.Labels[key], pod.Labels[key], "y")}
	}
	four, six := fmt.Sprintf("10.0.3.%d", i+1), fmt.Sprintf("fd00::3:%d", i+1)
	if g.percent(10) {
		four = fmt.Sprintf("10.0.0.%d", i+1) // a Service comes before the pod that has its address
	}
	s.Spec.ClusterIPs = pick(g, []string{four}, []string{six, four}, []string{"::ffff:" + four, six}, []string{corev1.ClusterIPNone}, nil)
	if len(s.Spec.ClusterIPs) > 0 && g.percent(80) {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	s.Spec.Ports = some(g, 6, func() corev1.ServicePort {
		return corev1.ServicePort{
			Port: pick[int32](g, 53, 80, 80, 8080, 8080, 0), Protocol: pick(g, "", "", corev1.ProtocolTCP, corev1.ProtocolUDP),
			TargetPort: pick(g, intstr.FromInt32(0), intstr.FromInt32(0), intstr.FromInt32(8080), intstr.FromInt32(80), intstr.FromInt32(80), intstr.FromInt32(65535), intstr.FromInt32(1),
				intstr.FromString("http"), intstr.FromString("http"), intstr.FromString("dns"), intstr.FromString(""), g.beyond()),
		}
	})
	return s
}

// beyond is a target port that is none.
func (g *generator) beyond() intstr.IntOrString {
	return pick(g, intstr.FromInt32(-1), intstr.FromInt32(65536), intstr.FromInt32(65536+80))
}

func (g *generator) connection(objs netpol.Objects) netpol.Connection {
	c := netpol.Connection{
		From: g.peer(objs), To: g.peer(objs),
		Protocol: pick(g, "", "TCP", "TCP", "TCP", "TCP", "TCP", corev1.ProtocolUDP, corev1.ProtocolSCTP),
		Port:     pick[uint16](g, 0, 1, 52, 53, 54, 79, 80, 80, 81, 8080, 8080, 65534, 65535),
	}
	if g.percent(3) {
		c.Protocol = "ICMP"
	}
	if g.percent(15) && len(objs.Services) > 0 {
		svc := pick(g, objs.Services...)
		c.To = g.address(pick(g, append([]string{svc.Spec.ClusterIP}, svc.Spec.ClusterIPs...)...))
		if len(svc.Spec.Ports) > 0 && g.percent(80) {
			p := pick(g, svc.Spec.Ports...)
			c.Protocol, c.Port = p.Protocol, uint16(p.Port)
		}
	}
	return c
}

// peer is a pod mostly, by name or address; what is not known is rare.
func (g *generator) peer(objs netpol.Objects) netpol.Peer {
	pod := pick(g, objs.Pods...)
	switch n := g.IntN(100); {
	case n < 2 && len(objs.Services) > 0: // even From, where it is an address like any other
		return g.address(pick(g, objs.Services...).Spec.ClusterIP)
	case n < 30:
		if p := g.address(g.written(pod)); p.Addr.IsValid() {
			return p
		}
	case n < 36:
		return g.address(pick(g, "10.0.1.1", "10.0.1.2", "10.0.1.5", "fd00::1:1", "fd00::1:2", "10.0.2.1"))
	case n < 42:
		return g.address(pick(g, "192.0.2.1", "10.0.0.15", "10.1.0.1", "2001:db8::1", "fd00::f", "0.0.0.0", "::", "255.255.255.255"))
	case n < 44:
		return pick(g, netpol.Peer{}, netpol.Peer{Pod: types.NamespacedName{Namespace: pod.Namespace, Name: "nosuch"}}, netpol.Peer{Pod: types.NamespacedName{Namespace: "nosuch", Name: pod.Name}})
	case n < 55:
		p := g.address(g.written(pod))
		p.Pod = nameOf(pod)
		return p
	}
	return netpol.Peer{Pod: nameOf(pod)}
}

// written is one of the addresses in the pod's status as it stands there; empty when there is none.
func (g *generator) written(pod *corev1.Pod) string {
	all := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		all = append(all, ip.IP)
	}
	return pick(g, all...)
}

// address is no peer at all if the text is no address.
func (g *generator) address(s string) netpol.Peer {
	addr, err := netip.ParseAddr(s)
	if err == nil && g.percent(5) {
		addr = netip.AddrFrom16(addr.As16()) // an IPv4 address in its IPv6 form
	}
	return netpol.Peer{Addr: addr}
}
