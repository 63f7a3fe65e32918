// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Input is a cluster, or the manifests of one.
type Input struct {
	// Objects; its Pods and Services are not asked: Workloads stand for them.
	Objects netpol.Objects
	// Workloads in any order, each once.
	Workloads []Workload
}

// Workload is what owns pods.
type Workload struct {
	Kind, Namespace, Name string
	// Pods are those that exist, or one from the template; without any, the workload has no lines.
	Pods []*corev1.Pod
}

// Cluster is an Input that was compiled. It is immutable.
type Cluster struct {
	snapshot   *netpol.Snapshot
	members    []member
	rules      []*netpol.Rule // those that govern a workload, each once
	namespaces map[string]bool
	nodes      []*corev1.Node
	owned      map[netip.Addr]bool // addresses of pods
}

// member is a workload.
type member struct {
	end      End
	variants []*variant
	onNode   bool         // some of its pods are on their node's network
	nodes    []netip.Addr // the addresses of those that are known
}

// variant is pods of a workload that differ in addresses alone.
type variant struct {
	pod   *corev1.Pod // what stands for them: labels and ports, no address
	addrs []netip.Addr
}

// New compiles a cluster. The error joins a *netpol.ObjectError for each fault of a policy; there is no cluster
// then, because it would say what the API server never will.
func New(in Input) (*Cluster, error) {
	c := &Cluster{namespaces: map[string]bool{}, nodes: in.Objects.Nodes, owned: map[netip.Addr]bool{}}
	objects := in.Objects
	objects.Pods, objects.Services = nil, nil
	for i := range in.Workloads {
		m := c.member(i, &in.Workloads[i])
		c.members = append(c.members, m)
		for _, v := range m.variants {
			objects.Pods = append(objects.Pods, v.pod)
		}
	}
	slices.SortFunc(c.members, func(a, b member) int { return a.end.Compare(b.end) })
	c.exist(&in)
	var err error
	if c.snapshot, err = netpol.Compile(objects); err != nil {
		return nil, err
	}
	c.collect()
	return c, nil
}

func (c *Cluster) member(index int, w *Workload) member {
	m := member{end: End{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}}
	known := map[string]*variant{}
	for _, p := range w.Pods {
		if p.Spec.HostNetwork {
			m.onNode = true
			m.nodes = append(m.nodes, addresses(p)...)
			continue
		}
		key := appearance(p)
		v := known[key]
		if v == nil {
			v = &variant{pod: standIn(w.Namespace, fmt.Sprintf("%s+%d+%d", w.Name, index, len(known)), p)}
			known[key] = v
			m.variants = append(m.variants, v)
		}
		for _, addr := range addresses(p) {
			v.addrs = append(v.addrs, addr)
			c.owned[addr] = true
		}
	}
	return m
}

// standIn has of a pod what policies look at, but no address and no node. Its name is no valid one,
// so it cannot meet another's.
func standIn(namespace, name string, p *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: p.Labels},
		Spec:       corev1.PodSpec{Containers: p.Spec.Containers, InitContainers: p.Spec.InitContainers},
	}
}

// appearance is the same for pods that policies can tell apart by their addresses alone.
func appearance(p *corev1.Pod) string {
	var b strings.Builder
	b.WriteString(labels.FormatLabels(p.Labels))
	for _, containers := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		b.WriteByte('\n')
		for i := range containers {
			for _, port := range containers[i].Ports {
				fmt.Fprintf(&b, " %s %s %d", port.Name, port.Protocol, port.ContainerPort)
			}
		}
	}
	return b.String()
}

func addresses(p *corev1.Pod) (all []netip.Addr) {
	given := []string{p.Status.PodIP}
	for _, ip := range p.Status.PodIPs {
		given = append(given, ip.IP)
	}
	for _, ip := range given {
		addr, err := netip.ParseAddr(ip)
		if addr = addr.Unmap(); err == nil && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// exist notes the namespaces that are there: declared, or with a policy or a workload in them.
func (c *Cluster) exist(in *Input) {
	for _, n := range in.Objects.Namespaces {
		c.namespaces[n.Name] = true
	}
	for _, p := range in.Objects.Policies {
		c.namespaces[p.Namespace] = true
	}
	for _, w := range in.Workloads {
		c.namespaces[w.Namespace] = true
	}
}

// collect finds the rules that govern a workload.
func (c *Cluster) collect() {
	seen := map[*netpol.Rule]bool{}
	for _, m := range c.members {
		for _, v := range m.variants {
			c.rules = govern(c.rules, seen, c.snapshot, v.pod)
		}
	}
}

// govern appends the rules that govern a pod, those that were not seen before.
func govern(rules []*netpol.Rule, seen map[*netpol.Rule]bool, s *netpol.Snapshot, p *corev1.Pod) []*netpol.Rule {
	for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		set := s.RuleSet(types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, d)
		for _, r := range slices.Concat(set.Tiers[:]...) {
			if !seen[r] {
				seen[r] = true
				rules = append(rules, r)
			}
		}
	}
	return rules
}

// allRules are those that govern a workload or a witness.
func (c *Cluster) allRules(witnesses []*witness) ([]*netpol.Rule, error) {
	var objects netpol.Objects
	for i, w := range witnesses {
		p, n := c.witnessPod(i, w)
		objects.Pods = append(objects.Pods, p)
		if n != nil {
			objects.Namespaces = append(objects.Namespaces, n)
		}
	}
	s, err := c.snapshot.Apply(netpol.Change{Set: objects})
	if err != nil {
		return nil, err
	}
	rules, seen := slices.Clone(c.rules), map[*netpol.Rule]bool{}
	for _, r := range rules {
		seen[r] = true
	}
	for _, p := range objects.Pods {
		rules = govern(rules, seen, s, p)
	}
	return rules, nil
}

// prefixes are all ranges that rules tell apart.
func (c *Cluster) prefixes(rules []*netpol.Rule) (all []netip.Prefix) {
	selectsNodes := false
	for _, r := range rules {
		for i := range r.Peers {
			m := &r.Peers[i]
			if m.Block.IsValid() {
				all = append(append(all, m.Block), m.Except...)
			}
			selectsNodes = selectsNodes || m.Nodes != nil
		}
	}
	if !selectsNodes {
		return all
	}
	for _, n := range c.nodes {
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil {
				all = append(all, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			}
		}
	}
	return all
}
