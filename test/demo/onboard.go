// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// manyNamespaces are created one after the other, each with a pod at once.
const manyNamespaces = 20

// onboard is step 2.
func (d *demo) onboard(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen, err := watchPolicies(watching, d.api)
	if err != nil {
		return err
	}
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
	if err := d.showOrder(ctx, seen, "shop"); err != nil {
		return err
	}
	if err := d.raceManyTimes(ctx, seen); err != nil {
		return err
	}
	if err := d.showRefusals(ctx); err != nil {
		return err
	}
	return d.createNeighbours(ctx)
}

// arrivals are the resourceVersions at which NetworkPolicies first existed, as a watch saw them: the
// cluster's own order of events. A policy's present one is that of its last change.
type arrivals struct {
	mu    sync.Mutex
	first map[types.NamespacedName]string
}

// watchPolicies records arrivals from now on, until ctx ends.
func watchPolicies(ctx context.Context, api kubernetes.Interface) (*arrivals, error) {
	events, err := api.NetworkingV1().NetworkPolicies("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	a := &arrivals{first: make(map[types.NamespacedName]string)}
	go func() {
		defer events.Stop()
		for e := range events.ResultChan() {
			if p, ok := e.Object.(*networkingv1.NetworkPolicy); ok && e.Type == watch.Added {
				a.mu.Lock()
				a.first[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}] = p.ResourceVersion
				a.mu.Unlock()
			}
		}
	}()
	return a, nil
}

func (a *arrivals) of(namespace, name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first[types.NamespacedName{Namespace: namespace, Name: name}]
}

// showOrder prints the baseline policies and the first pod in the order in which they came to be.
func (d *demo) showOrder(ctx context.Context, seen *arrivals, namespace string) error {
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
	if err := d.checkOrder(ctx, seen, namespace, first); err != nil {
		return err
	}
	for _, name := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		d.say("  resourceVersion %-5s NetworkPolicy %s/%s", seen.of(namespace, name), namespace, name)
	}
	d.say("  resourceVersion %-5s the first pod", first)
	return nil
}

// checkOrder fails when a baseline policy is not older than the pod.
func (d *demo) checkOrder(ctx context.Context, seen *arrivals, namespace, pod string) error {
	for _, name := range []string{baseline.DefaultDenyName, baseline.AllowDNSName} {
		err := d.until(ctx, "the watch has seen NetworkPolicy "+namespace+"/"+name, func(context.Context) (bool, error) {
			return seen.of(namespace, name) != "", nil
		})
		if err != nil {
			return err
		}
		if !older(seen.of(namespace, name), pod) {
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
func (d *demo) raceManyTimes(ctx context.Context, seen *arrivals) error {
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
		if err := d.checkOrder(ctx, seen, name, pod.ResourceVersion); err != nil {
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
