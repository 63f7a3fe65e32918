// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// manyNamespaces are created one after the other, each with a pod at once.
const manyNamespaces = 20

// onboard is step 2.
func (d *demo) onboard(ctx context.Context) error {
	begin := time.Now()
	labels := map[string]string{baseline.LabelOwner: "team-shop", baseline.LabelMode: baseline.Audit.String()}
	if err := createNamespace(ctx, d.api, "shop", labels); err != nil {
		return fmt.Errorf("create namespace shop: %w", err)
	}
	refused := 0
	for _, w := range d.workload {
		if w.namespace != "shop" {
			continue
		}
		n, err := w.create(ctx, d.api)
		if err != nil {
			return fmt.Errorf("create %s/%s: %w", w.namespace, w.name, err)
		}
		refused += n
	}
	d.say("namespace shop (mode audit) and its pods created in %s; pods refused until the policies existed: %d times",
		time.Since(begin).Round(time.Millisecond), refused)
	if err := d.showOrder(ctx, "shop"); err != nil {
		return err
	}
	if err := d.raceManyTimes(ctx); err != nil {
		return err
	}
	if err := d.showRefusals(ctx); err != nil {
		return err
	}
	return d.createNeighbours(ctx)
}

// showOrder prints the baseline policies and the first pod by resourceVersion, the cluster's own
// order of events.
func (d *demo) showOrder(ctx context.Context, namespace string) error {
	policies, err := d.api.NetworkingV1().NetworkPolicies(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range policies.Items {
		d.say("  resourceVersion %-5s NetworkPolicy %s/%s", p.ResourceVersion, namespace, p.Name)
	}
	pods, err := d.api.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	first := ""
	for _, p := range pods.Items {
		if first == "" || older(p.ResourceVersion, first) {
			first = p.ResourceVersion
		}
	}
	d.say("  resourceVersion %-5s the first pod", first)
	return checkOrder(policies.Items, namespace, first)
}

// checkOrder fails when a baseline policy is missing or not older than the pod.
func checkOrder(policies []networkingv1.NetworkPolicy, namespace, pod string) error {
	for _, name := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		found := false
		for i := range policies {
			found = found || policies[i].Name == name && older(policies[i].ResourceVersion, pod)
		}
		if !found {
			return fmt.Errorf("a pod of %s was admitted before NetworkPolicy %s existed", namespace, name)
		}
	}
	return nil
}

func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}

// raceManyTimes creates namespaces with a pod each, at once, and checks the order in every one.
func (d *demo) raceManyTimes(ctx context.Context) error {
	refusals := 0
	for i := range manyNamespaces {
		name := fmt.Sprintf("race-%d", i)
		if err := createNamespace(ctx, d.api, name, map[string]string{baseline.LabelOwner: "demo"}); err != nil {
			return err
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "first"}}
		pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "demo/app"}}
		n, err := createPod(ctx, d.api, pod)
		if err != nil {
			return err
		}
		refusals += n
		policies, err := d.api.NetworkingV1().NetworkPolicies(name).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if err := checkOrder(policies.Items, name, pod.ResourceVersion); err != nil {
			return err
		}
	}
	d.say("%d more namespaces, each with a pod at once: 0 pods before their policies; the API server refused %d attempts as too early",
		manyNamespaces, refusals)
	return nil
}

// showRefusals tries two unsafe objects.
func (d *demo) showRefusals(ctx context.Context) error {
	ownerless := createNamespace(ctx, d.api, "nobodys", nil)
	if err := d.showRefusal("a namespace without an owner", baseline.LabelOwner, ownerless); err != nil {
		return err
	}
	open := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "just-make-it-work"}}
	open.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}}
	_, err := d.api.NetworkingV1().NetworkPolicies("shop").Create(ctx, open, metav1.CreateOptions{})
	return d.showRefusal("a NetworkPolicy that opens everything", "spec.ingress[0]", err)
}

func (d *demo) showRefusal(what, mustSay string, refusal error) error {
	if refusal == nil {
		return errors.New(what + " was admitted")
	}
	if !strings.Contains(refusal.Error(), mustSay) {
		return fmt.Errorf("%s was refused, but not for %s: %w", what, mustSay, refusal)
	}
	d.say("refused, %s:", what)
	for line := range strings.Lines(refusal.Error()) {
		d.say("    %s", strings.TrimRight(line, "\n"))
	}
	return nil
}

// createNeighbours makes the namespaces around shop. They were there before Bulkhead, so to speak:
// mode observe, nothing is dropped in them.
func (d *demo) createNeighbours(ctx context.Context) error {
	observed := map[string]string{baseline.LabelOwner: "team-platform", baseline.LabelMode: baseline.Observe.String()}
	for _, w := range d.workload {
		if w.namespace == "shop" || w.namespace == metav1.NamespaceSystem {
			continue
		}
		if err := createNamespace(ctx, d.api, w.namespace, observed); err != nil {
			return fmt.Errorf("create namespace %s: %w", w.namespace, err)
		}
		if _, err := w.create(ctx, d.api); err != nil {
			return fmt.Errorf("create %s/%s: %w", w.namespace, w.name, err)
		}
	}
	return nil
}
