// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// AnnotationMirror is on a mirror pod, which stands for a static pod in the API server. Its value is the static
// pod's own UID.
const AnnotationMirror = corev1.MirrorPodAnnotationKey

// trimmed is an object that trim has made. The Reflector keeps such while it collects the first of them.
type trimmed struct{ metav1.Object }

// trim keeps what policies and flows speak of, so that a node's memory does not grow with the size of
// the pods' specifications in the whole cluster. What it leaves out cannot cause an update either.
func trim(object any) (trimmed, error) {
	switch o := object.(type) {
	case trimmed:
		return o, nil
	case *corev1.Pod:
		return trimmed{trimPod(o)}, nil
	case *corev1.Service:
		return trimmed{&corev1.Service{ObjectMeta: trimMeta(o.ObjectMeta), Spec: corev1.ServiceSpec{
			Type: o.Spec.Type, ClusterIP: o.Spec.ClusterIP, ClusterIPs: o.Spec.ClusterIPs,
			Selector: o.Spec.Selector, Ports: o.Spec.Ports, ExternalIPs: o.Spec.ExternalIPs, ExternalTrafficPolicy: o.Spec.ExternalTrafficPolicy,
		}, Status: corev1.ServiceStatus{LoadBalancer: o.Status.LoadBalancer}}}, nil
	case *corev1.Node:
		return trimmed{&corev1.Node{ObjectMeta: trimMeta(o.ObjectMeta), Status: corev1.NodeStatus{Addresses: o.Status.Addresses}}}, nil
	case *corev1.Namespace:
		ns := &corev1.Namespace{ObjectMeta: trimMeta(o.ObjectMeta)}
		keepAnnotation(&ns.ObjectMeta, o, baseline.AnnotationDenyWith)
		return trimmed{ns}, nil
	case *networkingv1.NetworkPolicy:
		o.ManagedFields = nil
		return trimmed{o}, nil
	case *unstructured.Unstructured:
		return trimmed{clusterPolicy(o)}, nil
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = trimMeta(o.ObjectMeta)
		o.Labels = nil
		return trimmed{o}, nil
	}
	return trimmed{}, fmt.Errorf("a %T is of no kind that is followed", object)
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	small := &corev1.Pod{
		ObjectMeta: trimMeta(p.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	keepAnnotation(&small.ObjectMeta, p, AnnotationMirror)
	small.Spec.Containers = trimContainers(p.Spec.Containers)
	small.Spec.InitContainers = trimContainers(p.Spec.InitContainers)
	return small
}

func keepAnnotation(small *metav1.ObjectMeta, object metav1.Object, key string) {
	if value, found := object.GetAnnotations()[key]; found {
		small.Annotations = map[string]string{key: value}
	}
}

// trimContainers keeps ports: policies may call them by name.
func trimContainers(containers []corev1.Container) []corev1.Container {
	var small []corev1.Container
	for _, c := range containers {
		if len(c.Ports) > 0 {
			small = append(small, corev1.Container{Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy})
		}
	}
	return small
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		Labels: m.Labels, OwnerReferences: m.OwnerReferences,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}
