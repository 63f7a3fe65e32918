// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// TestLean: an inventory keeps of pods what says which policies select them and where they can be reached, and no more; pods of a
// workload share what they have in common, and only that. The objects that it was made of stay as they are.
func TestLean(t *testing.T) {
	spec := func(port int32) corev1.PodSpec {
		return corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "web",
			InitContainers: []corev1.Container{{Name: "proxy", RestartPolicy: new(corev1.ContainerRestartPolicyAlways), Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 9000}}}},
			Containers: []corev1.Container{{
				Name: "web", Image: "web:1", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}}, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: port}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}},
			}},
		}
	}
	labels := func() map[string]string { return map[string]string{"app": "web"} }
	objects := []runtime.Object{&appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels()}, Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels()}, Spec: spec(80)}},
	}}
	for i, name := range []string{"web-0", "web-1", "web-2"} {
		objects = append(objects, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: name, Labels: labels(), Annotations: map[string]string{"note": "long"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "web", Controller: new(true)}},
			},
			Spec:   spec([]int32{80, 80, 81}[i]),
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Message: "long", ContainerStatuses: []corev1.ContainerStatus{{Name: "web"}}},
		})
	}
	before := objects[1].DeepCopyObject()
	pods := inventory.New(objects).Workload(edge.Endpoint{Kind: "StatefulSet", Namespace: "shop", Name: "web"}).Pods
	if !reflect.DeepEqual(objects[1], before) {
		t.Errorf("the object became %+v", objects[1])
	}
	want := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-2", Labels: labels()}, Spec: spec(81), Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1"}}
	want.Spec.ServiceAccountName, want.Spec.Containers[0].Image, want.Spec.Containers[0].Env = "", "", nil
	if !reflect.DeepEqual(pods[2], want) {
		t.Errorf("\n got %+v\nwant %+v", pods[2], want)
	}
	if &pods[0].Spec.InitContainers[0] != &pods[2].Spec.InitContainers[0] {
		t.Error("init containers that are the same take memory of their own")
	}
	if pods[1].Spec.Containers[0].Ports[0].ContainerPort != 80 {
		t.Errorf("web-1 has the ports of another pod: %+v", pods[1].Spec)
	}
}
