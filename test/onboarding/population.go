// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// createAtATime is how many objects are created at a time.
const createAtATime = 16

// population is what a cluster is filled with.
type population struct {
	namespaces int // in mode enforce: the webhook adds its policies
	pods       int
	policies   int // of people's, spread over the namespaces as the pods are
}

// fill creates the population. A webhook must run.
func (l *lab) fill(ctx context.Context, p population) error {
	api := l.apis[0]
	steps := []struct {
		what   string
		n      int
		create func(ctx context.Context, i int, namespace string) error
	}{
		{"namespaces", p.namespaces, func(ctx context.Context, _ int, name string) error {
			_, err := l.createNamespace(ctx, api, name)
			return err
		}},
		{"NetworkPolicies", p.policies, func(ctx context.Context, i int, namespace string) error {
			_, err := api.NetworkingV1().NetworkPolicies(namespace).Create(ctx, teamPolicy(i), metav1.CreateOptions{})
			return err
		}},
		{"pods", p.pods, func(ctx context.Context, i int, namespace string) error {
			_, err := api.CoreV1().Pods(namespace).Create(ctx, teamPod(i), metav1.CreateOptions{})
			return err
		}},
	}
	for _, step := range steps {
		fmt.Fprintf(l.progress, "creating %d %s\n", step.n, step.what)
		creators, ctx := errgroup.WithContext(ctx)
		creators.SetLimit(createAtATime)
		for i := range step.n {
			creators.Go(func() error {
				_, err := insist(ctx, nil, func() error { return step.create(ctx, i, fmt.Sprintf("shop-%d", i%p.namespaces)) })
				return err
			})
		}
		if err := creators.Wait(); err != nil {
			return fmt.Errorf("create %s: %w", step.what, err)
		}
	}
	return nil
}

// teamPolicy is as large as what people write: two peers, ports, a range of addresses.
func teamPolicy(i int) *networkingv1.NetworkPolicy {
	tcp := corev1.ProtocolTCP
	port := func(n int32) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: new(intstr.FromInt32(n))}}
	}
	pods := func(app string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": app}}
	}
	shop := &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: "shop-1"}}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("api-%d", i), Labels: teamLabels(i)},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *pods("api"),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: pods("frontend")}, {NamespaceSelector: shop, PodSelector: pods("jobs")}},
				Ports: port(8080),
			}},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: []networkingv1.NetworkPolicyPeer{{PodSelector: pods("database")}}, Ports: port(5432)},
				{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "203.0.113.0/24"}}}, Ports: port(443)},
			},
		},
	}
}

// tooWide is what the rules refuse.
func tooWide() *networkingv1.NetworkPolicy {
	policy := teamPolicy(0)
	policy.Name = "open"
	policy.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{
		To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}},
	}}
	return policy
}

// teamPod is about as large as a Deployment's pod.
func teamPod(i int) *corev1.Pod {
	container := func(name string) corev1.Container {
		probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}}
		c := corev1.Container{
			Name: name, Image: "registry.example.com/shop/" + name + ":v1.2.3",
			ReadinessProbe: probe, LivenessProbe: probe,
			VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/" + name}},
		}
		for n := range 8 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", n), Value: "value-of-a-setting"})
		}
		return c
	}
	source := corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "api"}}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("api-%d", i), Labels: teamLabels(i)},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{container("api"), container("proxy")},
			Volumes:    []corev1.Volume{{Name: "config", VolumeSource: source}},
		},
	}
}

func teamLabels(i int) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name": "api", "app.kubernetes.io/instance": fmt.Sprintf("api-%d", i),
		"app.kubernetes.io/part-of": "shop", baseline.LabelOwner: "team-shop",
	}
}
