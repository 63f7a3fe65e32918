// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An inventory lives as long as the run, and most of its objects are pods. It keeps what says which policies select a pod,
// where it is, and on which ports; who made it and when it lived is known by then. Nobody may change it: pods of a workload
// share what they have in common.

// lean is a pod without what nobody asks for. It shares what it can with another pod of its workload, or with the template.
func lean(p *corev1.Pod, w *Workload) *corev1.Pod {
	labels, spec := w.Template.Labels, &w.Template.Spec
	if n := len(w.Pods); n > 0 {
		labels, spec = w.Pods[n-1].Labels, &w.Pods[n-1].Spec
	}
	out := &corev1.Pod{
		TypeMeta:   p.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Labels: p.Labels, CreationTimestamp: p.CreationTimestamp},
		Spec:       leanSpec(&p.Spec),
		Status:     corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	if maps.Equal(labels, p.Labels) {
		out.Labels = labels
	}
	if equality.Semantic.DeepEqual(spec.Containers, out.Spec.Containers) {
		out.Spec.Containers = spec.Containers
	}
	if equality.Semantic.DeepEqual(spec.InitContainers, out.Spec.InitContainers) {
		out.Spec.InitContainers = spec.InitContainers
	}
	return out
}

func leanTemplate(t corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Namespace: t.Namespace, Name: t.Name, Labels: t.Labels},
		Spec:       leanSpec(&t.Spec),
	}
}

func leanSpec(spec *corev1.PodSpec) corev1.PodSpec {
	return corev1.PodSpec{
		NodeName: spec.NodeName, HostNetwork: spec.HostNetwork,
		Containers: leanContainers(spec.Containers), InitContainers: leanContainers(spec.InitContainers),
	}
}

// leanContainers leaves the ports and who probes them.
func leanContainers(all []corev1.Container) (out []corev1.Container) {
	for i := range all {
		c := &all[i]
		out = append(out, corev1.Container{
			Name: c.Name, Ports: c.Ports, RestartPolicy: c.RestartPolicy,
			LivenessProbe: c.LivenessProbe, ReadinessProbe: c.ReadinessProbe, StartupProbe: c.StartupProbe,
		})
	}
	return out
}
