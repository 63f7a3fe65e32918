// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// AnnotationMirror is on a mirror pod, which stands for a static pod in the API server. Its value is the static
// pod's own UID.
const AnnotationMirror = corev1.MirrorPodAnnotationKey

// trim keeps what policies and flows speak of, so that a node's memory does not grow with the size of
// the pods' specifications in the whole cluster. What it leaves out cannot cause an update either.
func trim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return trimPod(o), nil
	case *corev1.Service:
		return &corev1.Service{ObjectMeta: trimMeta(o.ObjectMeta), Spec: corev1.ServiceSpec{
			Type: o.Spec.Type, ClusterIP: o.Spec.ClusterIP, ClusterIPs: o.Spec.ClusterIPs,
			Selector: o.Spec.Selector, Ports: o.Spec.Ports, ExternalIPs: o.Spec.ExternalIPs, ExternalTrafficPolicy: o.Spec.ExternalTrafficPolicy,
		}, Status: corev1.ServiceStatus{LoadBalancer: o.Status.LoadBalancer}}, nil
	case *corev1.Node:
		return &corev1.Node{ObjectMeta: trimMeta(o.ObjectMeta), Status: corev1.NodeStatus{Addresses: o.Status.Addresses}}, nil
	case *corev1.Namespace:
		ns := &corev1.Namespace{ObjectMeta: trimMeta(o.ObjectMeta)}
		keepAnnotation(&ns.ObjectMeta, o, baseline.AnnotationDenyWith)
		return ns, nil
	case *networkingv1.NetworkPolicy:
		o.ManagedFields = nil
		return o, nil
	case *unstructured.Unstructured:
		return clusterPolicy(o), nil
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = trimMeta(o.ObjectMeta)
		o.Labels = nil
		return o, nil
	}
	return object, nil // trimmed already
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	trimmed := &corev1.Pod{
		ObjectMeta: trimMeta(p.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	keepAnnotation(&trimmed.ObjectMeta, p, AnnotationMirror)
	trimmed.Spec.Containers = trimContainers(p.Spec.Containers)
	trimmed.Spec.InitContainers = trimContainers(p.Spec.InitContainers)
	return trimmed
}

func keepAnnotation(trimmed *metav1.ObjectMeta, object metav1.Object, key string) {
	if value, found := object.GetAnnotations()[key]; found {
		trimmed.Annotations = map[string]string{key: value}
	}
}

// trimContainers keeps ports: policies may call them by name.
func trimContainers(containers []corev1.Container) []corev1.Container {
	var trimmed []corev1.Container
	for _, c := range containers {
		if len(c.Ports) > 0 {
			trimmed = append(trimmed, corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	return trimmed
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		Labels: m.Labels, OwnerReferences: m.OwnerReferences,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
