// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// isKubelet reports whether what comes from the node that the API server is on is the kubelet's: it comes to a pod of that node, at
// a port that is probed.
func (inv *Inventory) isKubelet(k edge.Key, r *flows.Record) bool {
	if k.From.Entity != EntityAPIServer || k.Protocol != corev1.ProtocolTCP || k.Port == 0 || !k.To.IsPod() {
		return false
	}
	node, known := inv.nodes[k.From.Addr]
	w := inv.workloads[k.To]
	return w != nil && (r.Source.Host || known && node == nodeOf(r.Node)) && probed(w.Template.Spec, k.Port)
}

// probed reports whether the kubelet connects to a port of such a pod.
func probed(spec corev1.PodSpec, port uint16) bool {
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
			if p == nil {
				continue
			}
			at, ok := targetPort(spec, corev1.ServicePort{TargetPort: probePort(p), Protocol: corev1.ProtocolTCP})
			if ok && at == port {
				return true
			}
		}
	}
	return false
}

// probePort is zero where the probe is a command inside of the pod.
func probePort(p *corev1.Probe) intstr.IntOrString {
	switch {
	case p.HTTPGet != nil:
		return p.HTTPGet.Port
	case p.TCPSocket != nil:
		return p.TCPSocket.Port
	case p.GRPC != nil:
		return intstr.FromInt32(p.GRPC.Port)
	}
	return intstr.IntOrString{}
}
