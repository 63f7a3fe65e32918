// SPDX-License-Identifier: Apache-2.0

package random

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// service has the given pod behind it, mostly.
func (g *Generator) service(i int, pod *corev1.Pod) *corev1.Service {
	s := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}}
	s.Namespace, s.Name = Pick(g, pod.Namespace, pod.Namespace, pod.Namespace, pod.Namespace, pod.Namespace, "b"), fmt.Sprintf("s%d", i)
	s.Spec.Type = Pick(g, "", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeNodePort,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeLoadBalancer)
	if g.percent(6) {
		s.Spec.Type = corev1.ServiceTypeExternalName
	}
	if g.percent(95) {
		key := Pick(g, append(slices.Sorted(maps.Keys(pod.Labels)), "env")...)
		s.Spec.Selector = map[string]string{key: Pick(g, pod.Labels[key], pod.Labels[key], pod.Labels[key], pod.Labels[key], "y")}
	}
	g.serviceAddresses(s, i)
	s.Spec.ExternalTrafficPolicy = Pick(g, "", corev1.ServiceExternalTrafficPolicyCluster,
		corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyLocal)
	if g.percent(95) {
		s.Spec.Ports = append(some(g, 4, g.servicePort), g.servicePort())
	}
	return s
}

// serviceAddresses are its own, mostly: at times another Service's, a pod's or a node's.
func (g *Generator) serviceAddresses(s *corev1.Service, i int) {
	if g.percent(8) {
		i = g.IntN(4)
	}
	four, six := fmt.Sprintf("10.0.3.%d", i+1), fmt.Sprintf("fd00::3:%d", i+1)
	if g.percent(6) {
		four = fmt.Sprintf("10.0.0.%d", i+1) // a Service comes before the pod that has its address
	}
	s.Spec.ClusterIPs = Pick(g, []string{four}, []string{four, six}, []string{six, four}, []string{"::ffff:" + four, six}, []string{corev1.ClusterIPNone}, nil)
	if len(s.Spec.ClusterIPs) > 0 && g.percent(80) {
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	external := func() string {
		return Pick(g, fmt.Sprintf("198.51.100.%d", i+1), fmt.Sprintf("198.51.100.%d", i+1), fmt.Sprintf("2001:db8:1::%d", i+1), four, "10.0.1.1", "no address", "")
	}
	if g.percent(30) {
		s.Spec.ExternalIPs = append(some(g, 1, external), external())
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer && g.percent(80) {
		s.Status.LoadBalancer.Ingress = append(some(g, 1, g.loadBalancer), corev1.LoadBalancerIngress{IP: external()})
	}
}

func (g *Generator) loadBalancer() corev1.LoadBalancerIngress {
	return corev1.LoadBalancerIngress{IP: Pick(g, "198.51.100.9", "2001:db8:1::9", ""), Hostname: "lb.example.com"}
}

func (g *Generator) servicePort() corev1.ServicePort {
	return corev1.ServicePort{
		Port: Pick[int32](g, 53, 80, 80, 80, 8080, 8080, 8080, 0), Protocol: Pick(g, "", "", corev1.ProtocolTCP, corev1.ProtocolUDP),
		NodePort: Pick[int32](g, 0, 30080, 30080, 30081),
		TargetPort: Pick(g, intstr.FromInt32(0), intstr.FromInt32(0), intstr.FromInt32(0), intstr.FromInt32(8080), intstr.FromInt32(8080), intstr.FromInt32(80), intstr.FromInt32(80), intstr.FromInt32(80), intstr.FromInt32(65535), intstr.FromInt32(1),
			intstr.FromString("http"), intstr.FromString("http"), intstr.FromString("dns"), intstr.FromString(""), g.beyond()),
	}
}

// beyond is a target port that is none.
func (g *Generator) beyond() intstr.IntOrString {
	return Pick(g, intstr.FromInt32(-1), intstr.FromInt32(65536), intstr.FromInt32(65536+80))
}
