// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Trim leaves of an object what See needs of it. An object of another kind stays as it is.
func Trim(object any) any {
	switch o := object.(type) {
	case *corev1.Pod:
		return trimPod(o)
	case *batchv1.Job:
		return &batchv1.Job{ObjectMeta: trimMeta(&o.ObjectMeta)}
	case *corev1.Service:
		o.ManagedFields = nil
	}
	return object
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: trimMeta(&p.ObjectMeta),
		Spec:       corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork},
		Status:     corev1.PodStatus{Phase: p.Status.Phase, StartTime: p.Status.StartTime, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	if hash, has := p.Labels[templateHash]; has {
		out.Labels = map[string]string{templateHash: hash}
	}
	if ready := networkReady(p); ready != nil {
		out.Status.Conditions = []corev1.PodCondition{*ready}
	}
	out.Status.InitContainerStatuses = trimStates(p.Status.InitContainerStatuses)
	out.Status.ContainerStatuses = trimStates(p.Status.ContainerStatuses)
	return out
}

func trimStates(all []corev1.ContainerStatus) (out []corev1.ContainerStatus) {
	for i := range all {
		state := corev1.ContainerState{Running: all[i].State.Running}
		if end := all[i].State.Terminated; end != nil {
			state.Terminated = &corev1.ContainerStateTerminated{StartedAt: end.StartedAt, FinishedAt: end.FinishedAt}
		}
		out = append(out, corev1.ContainerStatus{State: state})
	}
	return out
}

func trimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, OwnerReferences: m.OwnerReferences,
	}
}
