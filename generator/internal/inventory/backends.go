// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// resolveServices finds what is behind each port of each Service: by its selector, over pods and the
// templates that pods are made from, or else by the endpoints that somebody wrote.
func (inv *Inventory) resolveServices(byNamespace map[string][]*Workload) {
	for o, ports := range inv.services.byPort {
		var selected []*Workload
		selector := labels.SelectorFromSet(o.Spec.Selector)
		if len(o.Spec.Selector) > 0 {
			selected = byNamespace[o.Namespace]
		}
		for _, s := range ports {
			for _, w := range selected {
				s.behind = append(s.behind, w.backends(selector, s.port)...)
			}
			if len(o.Spec.Selector) == 0 {
				s.behind = inv.written(nameOf(o), s.port)
			}
			slices.SortFunc(s.behind, Backend.compare)
			s.behind = slices.Compact(s.behind)
		}
	}
}

// backends are the ports of the workload's pods, now or after the next rollout, that a Service
// leads to. Named ports can have another number at each pod. A pod without the named port is none.
func (w *Workload) backends(selector labels.Selector, p corev1.ServicePort) []Backend {
	var out []Backend
	for _, pod := range w.Pods {
		if port, ok := targetPort(pod.Spec, p); ok && selector.Matches(labels.Set(pod.Labels)) {
			end := w.Endpoint()
			if addr, err := parseAddr(pod.Status.PodIP); pod.Spec.HostNetwork && err == nil {
				end = edge.Endpoint{Addr: addr}
			}
			out = append(out, Backend{end, port})
		}
	}
	if port, ok := targetPort(w.Template.Spec, p); ok && !w.HostNetwork() && selector.Matches(labels.Set(w.Template.Labels)) {
		out = append(out, Backend{w.Endpoint(), port})
	}
	return out
}

// written are the endpoints that objects name for a port of a Service.
func (inv *Inventory) written(name types.NamespacedName, p corev1.ServicePort) []Backend {
	var out []Backend
	for _, e := range inv.services.backends[name] {
		if e.portName != p.Name || e.protocol != protocolOf(p.Protocol) {
			continue
		}
		end := edge.Endpoint{Addr: e.addr}
		pod := types.NamespacedName{Namespace: name.Namespace, Name: e.pod}
		if owner, ok := inv.owner[pod]; ok && !inv.pods[pod].Spec.HostNetwork {
			end = owner
		}
		out = append(out, Backend{end, e.port})
	}
	return out
}

// targetPort is the number that a Service's port has at a pod.
func targetPort(spec corev1.PodSpec, p corev1.ServicePort) (uint16, bool) {
	switch {
	case p.TargetPort == intstr.IntOrString{}:
		return uint16(p.Port), true
	case p.TargetPort.Type == intstr.Int:
		return uint16(p.TargetPort.IntVal), true
	}
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		for _, named := range c.Ports {
			if named.Name == p.TargetPort.StrVal && protocolOf(named.Protocol) == protocolOf(p.Protocol) {
				return uint16(named.ContainerPort), true
			}
		}
	}
	return 0, false
}
