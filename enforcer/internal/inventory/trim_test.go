// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func fullPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "api", UID: "1", ResourceVersion: "1", Labels: map[string]string{"app": "api"}, CreationTimestamp: metav1.Unix(7, 0),
			Annotations: map[string]string{"big": "blob"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", HostNetwork: true, Volumes: []corev1.Volume{{Name: "v"}},
			Containers: []corev1.Container{{Name: "main", Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}}, {Name: "noports"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady}},
		},
	}
}

func TestTrimKeepsWhatPoliciesSpeakOf(t *testing.T) {
	o, err := trim(fullPod())
	if err != nil {
		t.Fatal(err)
	}
	p := o.Object.(*corev1.Pod)
	if p.Annotations != nil || p.ManagedFields != nil || p.Spec.Volumes != nil || p.Status.Conditions != nil || p.Spec.Containers[0].Image != "" {
		t.Errorf("not trimmed: %+v", p)
	}
	if p.Labels["app"] != "api" || p.Spec.NodeName != "node-1" || !p.Spec.HostNetwork || len(p.Spec.Containers) != 1 ||
		p.Spec.Containers[0].Ports[0].Name != "http" || p.Status.PodIPs[0].IP != "10.0.0.1" || p.ResourceVersion != "1" || p.CreationTimestamp.Unix() != 7 {
		t.Errorf("trimmed too much: %+v", p)
	}
	if again, err := trim(o); err != nil || again != o {
		t.Errorf("what is trimmed became %+v, %v", again, err)
	}
}

// An inventory that called for an update at every heartbeat would compile all policies all the time.
func TestOnlyRelevantUpdatesCount(t *testing.T) {
	calls := 0
	m := newMirror(nil, new(corev1.Pod), digest, func(types.NamespacedName, metav1.Object) { calls++ })
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   int
	}{
		"condition":  {func(p *corev1.Pod) { p.Status.Conditions = nil }, 0},
		"annotation": {func(p *corev1.Pod) { p.Annotations["x"] = "y" }, 0},
		"nothing":    {func(*corev1.Pod) {}, 0},
		"label":      {func(p *corev1.Pod) { p.Labels["app"] = "web" }, 1},
		"address":    {func(p *corev1.Pod) { p.Status.PodIPs = nil }, 1},
		"phase":      {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, 1},
		"ending":     {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, 1},
		"port":       {func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort++ }, 1},
	} {
		after := fullPod()
		after.ResourceVersion = "2"
		c.change(after)
		before := m.Update(fullPod())
		calls = 0
		if err := errors.Join(before, m.Update(after)); err != nil || calls != c.want {
			t.Errorf("%s: %d calls, want %d; %v", name, calls, c.want, err)
		}
	}
}
