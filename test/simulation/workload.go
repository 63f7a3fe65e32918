// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Kinds of workload.
const (
	deployment  = "Deployment"
	statefulSet = "StatefulSet"
	daemonSet   = "DaemonSet"
	cronJob     = "CronJob"
)

// workload is what makes pods.
type workload struct {
	kind, namespace, name string
	object                runtime.Object
	template              corev1.PodTemplateSpec
	replicas              int       // of Deployments and StatefulSets
	schedule              *schedule // of CronJobs
}

func newWorkload(object runtime.Object) (w *workload, err error) {
	switch o := object.(type) {
	case *appsv1.Deployment:
		return named(deployment, o.ObjectMeta, o, o.Spec.Template, o.Spec.Replicas), nil
	case *appsv1.StatefulSet:
		return named(statefulSet, o.ObjectMeta, o, o.Spec.Template, o.Spec.Replicas), nil
	case *appsv1.DaemonSet:
		return named(daemonSet, o.ObjectMeta, o, o.Spec.Template, nil), nil
	case *batchv1.CronJob:
		w = named(cronJob, o.ObjectMeta, o, o.Spec.JobTemplate.Spec.Template, nil)
		if w.schedule, err = parseSchedule(o.Spec.Schedule); err != nil {
			return nil, fmt.Errorf("CronJob %s/%s: %w", o.Namespace, o.Name, err)
		}
		return w, nil
	}
	return nil, fmt.Errorf("%s is not simulated", object.GetObjectKind().GroupVersionKind().Kind)
}

func named(kind string, m metav1.ObjectMeta, object runtime.Object, template corev1.PodTemplateSpec, replicas *int32) *workload {
	w := &workload{kind: kind, namespace: m.Namespace, name: m.Name, object: object, template: template, replicas: 1}
	if replicas != nil {
		w.replicas = int(*replicas)
	}
	return w
}

// String is how the truth names a workload: "Deployment shop/api".
func (w *workload) String() string { return w.kind + " " + w.namespace + "/" + w.name }

func (w *workload) hostNetwork() bool { return w.template.Spec.HostNetwork }

// isSystem says whether the workload is the cluster's own.
func (w *workload) isSystem() bool { return w.namespace == metav1.NamespaceSystem }

// labels are those that a controller gives to the workload's pod: the template's, and its own for this revision, run
// or replica.
func (w *workload) labels(pod, revision string) map[string]string {
	labels := maps.Clone(w.template.Labels)
	switch w.kind {
	case deployment:
		labels[appsv1.DefaultDeploymentUniqueLabelKey] = revision
	case statefulSet:
		labels[appsv1.StatefulSetRevisionLabel] = w.name + "-" + revision
		labels[appsv1.StatefulSetPodNameLabel] = pod
	case daemonSet:
		labels[appsv1.ControllerRevisionHashLabelKey] = revision
	case cronJob:
		labels[batchv1.JobNameLabel] = w.name + "-" + revision
		labels["job-name"] = w.name + "-" + revision
		labels[batchv1.ControllerUidLabel] = string(uid(w.name, revision))
		labels["controller-uid"] = string(uid(w.name, revision))
	}
	return labels
}

// number is that of a port of the workload's pods. A name that no container gives to a port is an error.
func (w *workload) number(port intstr.IntOrString, protocol corev1.Protocol) (uint16, error) {
	if port.Type == intstr.Int {
		return uint16(port.IntVal), nil
	}
	for _, c := range w.template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == port.StrVal && protocolOr(p.Protocol) == protocol {
				return uint16(p.ContainerPort), nil
			}
		}
	}
	return 0, fmt.Errorf("%s has no %s port named %q", w, protocol, port.StrVal)
}

// probed are the ports that the kubelet connects to.
func (w *workload) probed() (ports []uint16, err error) {
	for _, c := range w.template.Spec.Containers {
		for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
			if p == nil {
				continue
			}
			var at intstr.IntOrString
			switch {
			case p.HTTPGet != nil:
				at = p.HTTPGet.Port
			case p.TCPSocket != nil:
				at = p.TCPSocket.Port
			case p.GRPC != nil:
				at = intstr.FromInt32(p.GRPC.Port)
			default:
				continue // a command inside the pod
			}
			port, err := w.number(at, corev1.ProtocolTCP)
			if err != nil {
				return nil, fmt.Errorf("probe: %w", err)
			}
			ports = append(ports, port)
		}
	}
	return ports, nil
}

func protocolOr(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP // the API's default
	}
	return p
}
