// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// WriteInventory writes the cluster's objects as they are at the end into dir, one file a kind; dir is created.
func (t *Trace) WriteInventory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	files := map[string]*bytes.Buffer{}
	for _, o := range t.objects() {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		if files[kind] == nil {
			files[kind] = &bytes.Buffer{}
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("write inventory: %s: %w", kind, err)
		}
		fmt.Fprintf(files[kind], "---\n%s", text)
	}
	for kind := range files {
		if err := os.WriteFile(filepath.Join(dir, kind+".yaml"), files[kind].Bytes(), 0o644); err != nil {
			return fmt.Errorf("write inventory: %w", err)
		}
	}
	return nil
}

// WriteTruth writes the truth into a file, as JSON.
func (t *Trace) WriteTruth(file string) error {
	text, err := json.MarshalIndent(t.truth, "", "  ")
	if err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// objects are all, in an order that is always the same.
func (t *Trace) objects() (objects []runtime.Object) {
	for _, n := range t.cluster.app.namespaces {
		objects = append(objects, n)
	}
	for _, n := range t.cluster.nodes {
		objects = append(objects, n.object())
	}
	for _, s := range t.cluster.app.services {
		objects = append(objects, s.Service)
	}
	objects = append(objects, t.cluster.apiServers())
	owners := map[string]bool{}
	for _, w := range t.cluster.app.workloads {
		objects = append(objects, w.object)
		for _, p := range t.kept(w) {
			if owner := p.owner(); owner != nil && !owners[p.ownerName()] {
				owners[p.ownerName()] = true
				objects = append(objects, owner)
			}
			objects = append(objects, p.object(t.cluster.end))
		}
	}
	return objects
}

// kept are the pods that the API server still has at the end: those that run, and of a CronJob the last three.
func (t *Trace) kept(w *workload) []*pod {
	if w.kind != cronJob {
		return t.cluster.alive(w, t.cluster.end)
	}
	const history = 3 // the API's default successfulJobsHistoryLimit
	runs := t.cluster.of[w]
	return runs[max(0, len(runs)-history):]
}

func (n *node) object() *corev1.Node {
	var ranges []string
	if n.inner != n.addr { // where a node has an address of its own range, the range is known
		ranges = []string{netip.PrefixFrom(n.inner, n.inner.BitLen()-16).Masked().String()}
	}
	labels := map[string]string{corev1.LabelHostname: n.name}
	if n.controlPlane {
		labels["node-role.kubernetes.io/control-plane"] = ""
	}
	return &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: n.name, UID: uid("node", n.name), Labels: labels},
		Spec:       corev1.NodeSpec{PodCIDRs: ranges},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: n.addr.String()}, {Type: corev1.NodeHostName, Address: n.name},
		}},
	}
}

// apiServers are what is behind the API server's Service, which selects no pods.
func (c *cluster) apiServers() runtime.Object {
	name, port := "https", int32(nodeAPIPort)
	return &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault, Name: "kubernetes", UID: uid("endpoints", "kubernetes"),
			Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
		},
		AddressType: c.addressType(),
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{c.controlPlane().addr.String()}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
}

// object is the pod as the API server has it.
func (p *pod) object(now time.Time) *corev1.Pod {
	spec := *p.template.Spec.DeepCopy()
	spec.NodeName = p.node.name
	start := metav1.NewTime(p.start)
	o := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.namespace, Name: p.name, UID: uid("pod", p.name, p.start.String()), Labels: p.labels,
			CreationTimestamp: start, OwnerReferences: []metav1.OwnerReference{p.reference()},
		},
		Spec: spec,
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, StartTime: &start, HostIP: p.node.addr.String(),
			PodIP: p.addr.String(), PodIPs: []corev1.PodIP{{IP: p.addr.String()}},
		},
	}
	if !p.end.After(now) {
		o.Status.Phase = corev1.PodSucceeded
		done := corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: start, FinishedAt: metav1.NewTime(p.end)}
		for _, c := range spec.Containers {
			o.Status.ContainerStatuses = append(o.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: corev1.ContainerState{Terminated: &done}})
		}
	}
	return o
}

// ownerName is that of the object between the pod and its workload, or of the workload where there is none between.
func (p *pod) ownerName() string {
	if slices.Contains([]string{deployment, cronJob}, p.kind) {
		return p.workload.name + "-" + p.revision
	}
	return p.workload.name
}

func (p *pod) reference() metav1.OwnerReference {
	yes := true
	r := metav1.OwnerReference{APIVersion: "apps/v1", Kind: p.kind, Name: p.ownerName(), Controller: &yes}
	switch p.kind {
	case deployment:
		r.Kind = "ReplicaSet"
	case cronJob:
		r.APIVersion, r.Kind = "batch/v1", "Job"
	}
	r.UID = uid(r.Kind, p.namespace, r.Name)
	return r
}

// owner is the object between the pod and its workload; nil: there is none.
func (p *pod) owner() runtime.Object {
	yes := true
	m := metav1.ObjectMeta{
		Namespace: p.namespace, Name: p.ownerName(), UID: p.reference().UID, Labels: p.labels,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: p.kind, Name: p.workload.name, UID: uid(p.kind, p.namespace, p.workload.name), Controller: &yes,
		}},
	}
	template := p.template
	template.Labels = p.labels
	switch o := p.workload.object.(type) {
	case *appsv1.Deployment:
		selector := o.Spec.Selector.DeepCopy()
		metav1.AddLabelToSelector(selector, appsv1.DefaultDeploymentUniqueLabelKey, p.revision)
		return &appsv1.ReplicaSet{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: m,
			Spec: appsv1.ReplicaSetSpec{Replicas: o.Spec.Replicas, Selector: selector, Template: template},
		}
	case *batchv1.CronJob:
		m.OwnerReferences[0].APIVersion = "batch/v1"
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{batchv1.ControllerUidLabel: p.labels[batchv1.ControllerUidLabel]}}
		return &batchv1.Job{
			TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: m,
			Spec: batchv1.JobSpec{Selector: selector, Template: template},
		}
	}
	return nil
}
