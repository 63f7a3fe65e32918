// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

const nodeName = "demo-node"

// dnsAddress is what pods are told to ask, as the kubelet would tell them.
const dnsAddress = "10.96.0.10"

// workload is a Deployment of the demo with one pod.
type workload struct {
	namespace, name string
	number          int                    // of its pod: in the addresses and the link's name
	ports           []corev1.ContainerPort // it serves all of them
	service         []corev1.ServicePort   // nil: no Service
	clusterIP       string                 // of the Service; empty: the API server chooses
}

func (w *workload) labels() map[string]string { return map[string]string{"app": w.name} }

func (w *workload) addresses() []netip.Addr {
	return []netip.Addr{
		netip.AddrFrom4([4]byte{10, 99, 1, byte(w.number)}),
		netip.MustParseAddr(fmt.Sprintf("fd99::1:%x", w.number)),
	}
}

func tcp(name string, port int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: port, Protocol: corev1.ProtocolTCP}
}

func servicePort(name string, protocol corev1.Protocol, port int32, target intstr.IntOrString) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: protocol, Port: port, TargetPort: target}
}

// workloads are the three-tier application and what surrounds it. Two Services translate the port.
func workloads() []*workload {
	metrics := tcp("metrics", 9090)
	dnsPorts := []corev1.ContainerPort{{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}, tcp("dns-tcp", 53)}
	return []*workload{
		{
			namespace: "kube-system", name: "coredns", number: 10, ports: dnsPorts, clusterIP: dnsAddress,
			service: []corev1.ServicePort{
				servicePort("dns", corev1.ProtocolUDP, 53, intstr.FromString("dns")),
				servicePort("dns-tcp", corev1.ProtocolTCP, 53, intstr.FromString("dns-tcp")),
			},
		},
		{
			namespace: "shop", name: "frontend", number: 11, ports: []corev1.ContainerPort{tcp("http", 8080), metrics},
			service: []corev1.ServicePort{servicePort("http", corev1.ProtocolTCP, 80, intstr.FromString("http"))},
		},
		{
			namespace: "shop", name: "api", number: 12, ports: []corev1.ContainerPort{tcp("http", 3000), metrics},
			service: []corev1.ServicePort{servicePort("http", corev1.ProtocolTCP, 80, intstr.FromInt32(3000))},
		},
		{
			namespace: "shop", name: "database", number: 13, ports: []corev1.ContainerPort{tcp("sql", 5432), metrics},
			service: []corev1.ServicePort{servicePort("sql", corev1.ProtocolTCP, 5432, intstr.FromInt32(5432))},
		},
		{namespace: "ingress-nginx", name: "controller", number: 14},
		{namespace: "monitoring", name: "prometheus", number: 15},
	}
}

// serviceName of the DNS Service is kube-dns everywhere, whatever serves it.
func (w *workload) serviceName() string {
	if w.clusterIP == dnsAddress {
		return "kube-dns"
	}
	return w.name
}

// createNode makes the Node object of the one node.
func createNode(ctx context.Context, api kubernetes.Interface) error {
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: node.Gateway4.String()},
			{Type: corev1.NodeInternalIP, Address: node.Gateway6.String()},
		}},
	}
	created, err := api.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	created.Status = object.Status
	_, err = api.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

func createNamespace(ctx context.Context, api kubernetes.Interface, name string, labels map[string]string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	_, err := api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// create makes the objects of a workload as the controllers would: Deployment, ReplicaSet, Pod,
// Service. It returns how often the pod was refused before it was admitted.
func (w *workload) create(ctx context.Context, api kubernetes.Interface) (refused int, err error) {
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: w.labels()},
		Spec: corev1.PodSpec{
			NodeName:   nodeName,
			Containers: []corev1.Container{{Name: w.name, Image: "demo/" + w.name, Ports: w.ports}},
		},
	}
	selector := &metav1.LabelSelector{MatchLabels: w.labels()}
	deployment, err := api.AppsV1().Deployments(w.namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: w.name},
		Spec:       appsv1.DeploymentSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = "5d8f7c9b6d"
	replicas, err := api.AppsV1().ReplicaSets(w.namespace).Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: ownedBy(w.name+"-5d8f7c9b6d", deployment, "Deployment"),
		Spec:       appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	pod := &corev1.Pod{ObjectMeta: ownedBy(w.podName(), replicas, "ReplicaSet"), Spec: template.Spec}
	pod.Namespace, pod.Labels = w.namespace, template.Labels
	if refused, err = createPod(ctx, api, pod); err != nil {
		return refused, err
	}
	return refused, w.createService(ctx, api)
}

func (w *workload) podName() string { return w.name + "-5d8f7c9b6d-x2x4z" }

func ownedBy(name string, owner metav1.Object, kind string) metav1.ObjectMeta {
	controller := true
	return metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: &controller,
	}}}
}

func (w *workload) createService(ctx context.Context, api kubernetes.Interface) error {
	if w.service == nil {
		return nil
	}
	svc, err := api.CoreV1().Services(w.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: w.serviceName()},
		Spec:       corev1.ServiceSpec{Selector: w.labels(), Ports: w.service, ClusterIP: w.clusterIP},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	w.clusterIP = svc.Spec.ClusterIP
	return nil
}

// createPod creates a pod, trying again while an admission policy refuses it, as the ReplicaSet
// controller does, and counts the refusals. The API server says Forbidden, or Invalid where it
// looked for the policy and did not find it. That the namespace does not exist yet is no refusal.
func createPod(ctx context.Context, api kubernetes.Interface, pod *corev1.Pod) (refused int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var last error
	err = wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(ctx context.Context) (bool, error) {
		created, err := api.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			refused++
			last = err
			return false, nil
		}
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err == nil {
			created.DeepCopyInto(pod)
		}
		return err == nil, err
	})
	if err != nil && last != nil {
		err = last
	}
	return refused, err
}

// report writes the pod's status, as the kubelet does once the pod has its addresses.
func report(ctx context.Context, api kubernetes.Interface, namespace, name string, addrs []netip.Addr) error {
	pod, err := api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.PodIP = addrs[0].String()
	for _, addr := range addrs {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: addr.String()})
	}
	_, err = api.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}
