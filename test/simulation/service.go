// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// apiServer is the Service that the control plane makes for itself; no pod is behind it.
const (
	apiServer     = "default/kubernetes"
	apiServerPort = 443
	nodeAPIPort   = 6443 // where the node of the control plane has it
)

// service is a Service with what is behind it.
type service struct {
	*corev1.Service
	backends []*workload
	addr     netip.Addr // its cluster address; the zero Addr for a headless one
}

func newService(s *corev1.Service) *service {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		p.Protocol = protocolOr(p.Protocol)
		if p.TargetPort == (intstr.IntOrString{}) {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	return &service{Service: s}
}

func (s *service) headless() bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

// snat says whether what comes from outside arrives with a node's address.
func (s *service) snat() bool {
	return s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal
}

// connect finds what a Service selects.
func (a *Application) connect(s *service) {
	if len(s.Spec.Selector) == 0 {
		return
	}
	selector := labels.SelectorFromSet(s.Spec.Selector)
	for _, w := range a.workloads {
		if w.namespace == s.Namespace && selector.Matches(labels.Set(w.template.Labels)) {
			s.backends = append(s.backends, w)
		}
	}
}

// target is the port of a workload's pods that a Service's port leads to.
func (s *service) target(w *workload, port uint16, protocol corev1.Protocol) (uint16, error) {
	for _, p := range s.Spec.Ports {
		if uint16(p.Port) != port || p.Protocol != protocol {
			continue
		}
		if s.headless() {
			return port, nil // DNS answers with the pods' addresses: nothing translates the port
		}
		return w.number(p.TargetPort, protocol)
	}
	return 0, fmt.Errorf("%w port: %s/%d of Service %s/%s", errUnknown, protocol, port, s.Namespace, s.Name)
}
