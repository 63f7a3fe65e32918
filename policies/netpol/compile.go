// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// CommitAnnotation carries the Git commit that approved a policy.
const CommitAnnotation = "bulkhead.dev/approved-commit"

// Compile makes a snapshot of the objects. The error joins an *ObjectError for each fault; the
// snapshot is usable all the same: a rule, peer or port with a fault matches nothing, while the
// policy goes on isolating what it selects.
func Compile(objs Objects) (*Snapshot, error) {
	s := &Snapshot{
		pods:   make(map[types.NamespacedName]*pod, len(objs.Pods)),
		byAddr: make(map[netip.Addr]*pod, len(objs.Pods)),
		nodes:  nodeAddresses(objs.Nodes),
	}
	var faults []error
	policies := make(map[string][]*policy) // by namespace
	seen := make(map[types.NamespacedName]bool, len(objs.Policies))
	for _, np := range objs.Policies {
		c := &policyCompiler{np: np}
		p := c.compile()
		if name := (types.NamespacedName{Namespace: np.Namespace, Name: np.Name}); seen[name] {
			c.fault("metadata.name", "given twice; the first one counts")
		} else {
			seen[name] = true
			policies[p.namespace] = append(policies[p.namespace], p)
		}
		for _, f := range c.faults {
			faults = append(faults, f)
		}
	}
	for _, list := range policies {
		slices.SortFunc(list, func(a, b *policy) int { return cmp.Compare(a.name, b.name) })
	}
	s.addPods(objs)
	s.addRules(policies)
	s.services = compileServices(objs.Services, s)
	return s, errors.Join(faults...)
}

func nodeAddresses(nodes []*corev1.Node) map[netip.Addr]string {
	byAddr := make(map[netip.Addr]string)
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil {
				byAddr[addr.Unmap()] = n.Name
			}
		}
	}
	return byAddr
}

func (s *Snapshot) addPods(objs Objects) {
	namespaces := make(map[string]labels.Set, len(objs.Namespaces))
	for _, ns := range objs.Namespaces {
		namespaces[ns.Name] = namespaceLabels(ns.Name, ns.Labels)
	}
	for _, kp := range objs.Pods {
		p := newPod(kp)
		if namespaces[kp.Namespace] == nil {
			namespaces[kp.Namespace] = namespaceLabels(kp.Namespace, nil)
		}
		p.namespaceLabels = namespaces[kp.Namespace]
		s.pods[p.ref] = p
	}
	s.order = slices.SortedFunc(maps.Values(s.pods), func(a, b *pod) int {
		return cmp.Or(strings.Compare(a.ref.Namespace, b.ref.Namespace), strings.Compare(a.ref.Name, b.ref.Name))
	})
	for _, p := range s.order {
		s.addAddresses(p)
	}
}

// addAddresses indexes a pod's addresses. Host-network pods stand for their node.
func (s *Snapshot) addAddresses(p *pod) {
	for _, addr := range p.addrs {
		switch {
		case p.completed:
		case p.hostNetwork:
			if p.node != "" {
				s.nodes[addr] = p.node
			}
		default:
			s.byAddr[addr] = p
		}
	}
}

// namespaceLabels adds the label that the API server sets on every namespace, which a manifest
// need not carry and cannot change.
func namespaceLabels(name string, given map[string]string) labels.Set {
	set := make(labels.Set, len(given)+1)
	maps.Copy(set, given)
	set[corev1.LabelMetadataName] = name
	return set
}

func newPod(kp *corev1.Pod) *pod {
	p := &pod{
		ref:         types.NamespacedName{Namespace: kp.Namespace, Name: kp.Name},
		labels:      kp.Labels,
		node:        kp.Spec.NodeName,
		hostNetwork: kp.Spec.HostNetwork,
		completed:   kp.Status.Phase == corev1.PodSucceeded || kp.Status.Phase == corev1.PodFailed,
		ports:       namedPorts(&kp.Spec),
	}
	given := []corev1.PodIP{{IP: kp.Status.PodIP}}
	for _, ip := range append(given, kp.Status.PodIPs...) {
		addr, err := netip.ParseAddr(ip.IP)
		if addr = addr.Unmap(); err == nil && !slices.Contains(p.addrs, addr) {
			p.addrs = append(p.addrs, addr)
		}
	}
	return p
}

// namedPorts are those of the containers that run beside each other: the main ones and the
// restartable init containers (sidecars).
func namedPorts(spec *corev1.PodSpec) []namedPort {
	containers := slices.Clone(spec.Containers)
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	var ports []namedPort
	for _, c := range containers {
		for _, port := range c.Ports {
			if port.Name != "" && port.ContainerPort > 0 && port.ContainerPort <= 65535 {
				ports = append(ports, namedPort{port.Name, defaultProtocol(port.Protocol), uint16(port.ContainerPort)})
			}
		}
	}
	return ports
}

func defaultProtocol(p corev1.Protocol) corev1.Protocol { return cmp.Or(p, corev1.ProtocolTCP) }

// addRules gives every pod its rule sets. Pods that the same policies select share one.
func (s *Snapshot) addRules(policies map[string][]*policy) {
	shared := make(map[string]*RuleSet)
	for _, p := range s.order {
		var selecting []*policy
		for _, np := range policies[p.ref.Namespace] {
			if p.hasIdentity() && np.pods.Matches(p.labels) {
				selecting = append(selecting, np)
			}
		}
		for _, d := range []Direction{Ingress, Egress} {
			var set RuleSet
			for _, np := range selecting {
				if np.isolates[d] {
					set.Isolated = true
					set.By = append(set.By, &np.origin[d])
					set.Rules = append(set.Rules, np.rules[d]...)
				}
			}
			key := d.String() + set.Key()
			if shared[key] == nil {
				shared[key] = &set
			}
			p.rules[d] = shared[key]
		}
	}
}
