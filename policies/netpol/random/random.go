// SPDX-License-Identifier: Apache-2.0

// Package random makes clusters, changes of them and connections in them at random, and shrinks a cluster
// that shows a fault to its smallest part. It serves tests of everything that judges connections.
package random

import (
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Generator makes clusters and connections at random. Its universe is small, so that what it makes
// often matches, and owners often dispute an address.
type Generator struct {
	*rand.Rand
	faults int // of 100 parts of a policy that could have a fault
}

// New is the generator of one cluster: the same arguments, the same cluster.
func New(seed, cluster uint64) *Generator {
	g := &Generator{Rand: rand.New(rand.NewPCG(seed, cluster))}
	if g.percent(50) {
		g.faults = 1 + g.IntN(12)
	}
	return g
}

func (g *Generator) percent(n int) bool { return g.IntN(100) < n }

// fault is whether the next part shall have one.
func (g *Generator) fault() bool { return g.faults > 0 && g.percent(g.faults) }

// Pick is one of the values.
func Pick[T any](g *Generator, from ...T) T { return from[g.IntN(len(from))] }

// some are up to n parts, each made anew.
func some[T any](g *Generator, n int, one func() T) []T {
	var all []T
	for range g.IntN(n + 1) {
		all = append(all, one())
	}
	return all
}

// Objects are a new cluster.
func (g *Generator) Objects() netpol.Objects {
	var objs netpol.Objects
	for _, name := range []string{"a", "b", "c"} {
		if g.percent(75) {
			objs.Namespaces = append(objs.Namespaces, g.namespace(name))
		}
	}
	for i := 1; i <= 2; i++ {
		if g.percent(85) {
			objs.Nodes = append(objs.Nodes, g.node(i))
		}
	}
	for i := range 4 + g.IntN(4) {
		objs.Pods = append(objs.Pods, g.pod(i))
	}
	for i := range 1 + g.IntN(5) {
		objs.Services = append(objs.Services, g.service(i, Pick(g, objs.Pods...)))
	}
	for _, n := range g.Perm(6)[:1+g.IntN(5)] {
		objs.Policies = append(objs.Policies, g.policy(n))
	}
	for _, n := range g.Perm(6)[:g.IntN(6)] {
		objs.ClusterPolicies = append(objs.ClusterPolicies, g.clusterPolicy(n))
	}
	mix(g, objs.Namespaces)
	mix(g, objs.Nodes)
	mix(g, objs.Pods)
	mix(g, objs.Services)
	return objs
}

func mix[T any](g *Generator, list []T) {
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func (g *Generator) namespace(name string) *corev1.Namespace {
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}}
	ns.Name, ns.Labels = name, g.labels("team", "env")
	if g.percent(20) {
		ns.Labels[corev1.LabelMetadataName] = Pick(g, "a", "b", "c")
	}
	return ns
}

func (g *Generator) labels(keys ...string) map[string]string {
	set := map[string]string{}
	for _, k := range keys {
		if g.percent(60) {
			set[k] = Pick(g, "x", "x", "y", "")
		}
	}
	return set
}

func (g *Generator) node(i int) *corev1.Node {
	n := &corev1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
	n.Name, n.Labels = fmt.Sprintf("n%d", i), g.labels("app", "env")
	if g.percent(10) {
		i = 3 - i // what another node has, too
	}
	for _, a := range []string{n.Name, fmt.Sprintf("10.0.1.%d", i), fmt.Sprintf("::ffff:10.0.1.%d", i+4), fmt.Sprintf("fd00::1:%d", i)} {
		if g.percent(75) {
			n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
		}
	}
	return n
}

func (g *Generator) pod(i int) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}
	p.Namespace, p.Name = Pick(g, "a", "a", "a", "b", "c"), fmt.Sprintf("p%d", i)
	p.Labels = g.labels("app", "env", "example.com/tier")
	p.Spec.NodeName = Pick(g, "n1", "n1", "n2", "n2", "n3", "")
	p.Status.Phase = Pick(g, corev1.PodRunning, corev1.PodRunning, corev1.PodRunning, corev1.PodPending, "")
	if g.percent(40) {
		p.CreationTimestamp = metav1.NewTime(time.Unix(1_700_000_000+g.Int64N(3), 0).UTC())
	}
	four, six := g.podAddresses(p, i)
	g.addresses(p, four, six)
	for range Pick(g, 0, 1, 1, 2) {
		p.Spec.Containers = append(p.Spec.Containers, g.container())
	}
	if g.percent(30) {
		c := g.container()
		c.RestartPolicy = Pick(g, nil, new(corev1.ContainerRestartPolicyAlways), new(corev1.ContainerRestartPolicyOnFailure))
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	return p
}

// podAddresses are its own, or its node's, or another pod's.
func (g *Generator) podAddresses(p *corev1.Pod, i int) (four, six string) {
	four, six = fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("fd00::%d", i+1)
	switch {
	case g.percent(12): // on the network of its node; of one that has no Node, too
		p.Spec.HostNetwork = true
		four, six = fmt.Sprintf("10.0.2.%d", i%3), fmt.Sprintf("fd00::2:%d", i%3)
		if node := p.Spec.NodeName; node == "n1" || node == "n2" {
			four, six = "10.0.1."+node[1:], "fd00::1:"+node[1:]
		} else if node == "" && g.percent(50) {
			four = "10.0.1.1"
		}
	case i == 0 && g.percent(10): // a node's, which the pod keeps
		four, six = "10.0.1.1", "fd00::1:2"
	case g.percent(8):
		four = fmt.Sprintf("10.0.0.%d", 1+g.IntN(8))
	}
	if g.percent(8) {
		p.Status.Phase = Pick(g, corev1.PodSucceeded, corev1.PodFailed)
		four = fmt.Sprintf("10.0.0.%d", 1+g.IntN(8))
	}
	return four, six
}

func (g *Generator) noPort() int32 { return Pick[int32](g, 0, 65536, 65536+80, -1) }

// addresses are one or both, in either order, written in any of the ways that a status can have.
func (g *Generator) addresses(p *corev1.Pod, four, six string) {
	if g.percent(5) {
		four = "::ffff:" + four
	}
	all := Pick(g, []string{four}, []string{six}, []string{four, six}, []string{four, six}, []string{six, four}, []string{four, four, six}, []string{"pending", four}, nil)
	if all != nil && g.percent(80) {
		p.Status.PodIP = all[0]
	}
	if len(all) > 1 || len(all) == 1 && p.Status.PodIP == "" {
		for _, a := range all {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a})
		}
	}
}

func (g *Generator) container() corev1.Container {
	return corev1.Container{Name: "c", Ports: some(g, 3, func() corev1.ContainerPort {
		return corev1.ContainerPort{
			Name: Pick(g, "http", "http", "http", "dns", ""), ContainerPort: Pick[int32](g, 53, 80, 80, 80, 8080, 8080, 8080, 1, 65535, g.noPort()),
			Protocol: Pick(g, "", corev1.ProtocolTCP, corev1.ProtocolUDP),
		}
	})}
}
