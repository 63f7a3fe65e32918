// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// manyNamespaces are created one after the other, each in a race with its first pod.
const manyNamespaces = 20

// onboard is step 2.
func (d *demo) onboard(ctx context.Context) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen, err := watchPolicies(watching, d.api)
	if err != nil {
		return err
	}
	if err := d.untilGateIsShut(ctx); err != nil {
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
	if err := d.showGate(ctx, "race-0"); err != nil {
		return fmt.Errorf("the pod gate: %w", err)
	}
	if err := d.showRefusals(ctx); err != nil {
		return err
	}
	return d.createNeighbours(ctx)
}

// untilGateIsShut waits for the API server to act on the admission policies that the webhook has
// just registered, which it does within a second or two. The gate's neighbour, which refuses modes
// that do not exist, can be asked without leaving anything behind.
func (d *demo) untilGateIsShut(ctx context.Context) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "probe", Labels: map[string]string{
		baseline.LabelOwner: "demo", baseline.LabelMode: "no-such-mode",
	}}}
	return d.until(ctx, "the API server refuses a mode that does not exist", func(ctx context.Context) (bool, error) {
		_, err := d.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy"), nil
	})
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

func plainPod(namespace, name string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "demo/app"}}
	return pod
}

// raceManyTimes creates namespaces while a pod is tried in each all the time, from before the
// namespace exists, and checks the order in every one.
func (d *demo) raceManyTimes(ctx context.Context, seen *arrivals) error {
	refusals := 0
	for i := range manyNamespaces {
		name := fmt.Sprintf("race-%d", i)
		pod := plainPod(name, "first")
		racing, working := errgroup.WithContext(ctx)
		racing.Go(func() error {
			n, err := createPod(working, d.api, pod)
			refusals += n
			return err
		})
		racing.Go(func() error {
			return createNamespace(working, d.api, name, map[string]string{baseline.LabelOwner: "demo"})
		})
		if err := racing.Wait(); err != nil {
			return err
		}
		if err := d.checkOrder(ctx, seen, name, pod.ResourceVersion); err != nil {
			return err
		}
	}
	d.say("%d more namespaces, a pod tried in each from before it exists: 0 pods before their policies, %d attempts refused as too early",
		manyNamespaces, refusals)
	return nil
}

// showGate stops the webhook and takes away a default-deny, with the webhook's own rights because
// nobody else has them: the API server refuses pods by itself. Then it lets the webhook go on.
func (d *demo) showGate(ctx context.Context, namespace string) error {
	webhook := d.parts[0]
	if err := webhook.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	refusal, err := d.withoutDefaultDeny(ctx, namespace)
	if err := errors.Join(err, webhook.Signal(syscall.SIGCONT)); err != nil {
		return err
	}
	begin := time.Now()
	pod := plainPod(namespace, "second")
	if _, err := createPod(ctx, d.api, pod); err != nil {
		return err
	}
	d.say("webhook stopped, default-deny of %s gone: a pod is refused by the API server itself:", namespace)
	d.say("    %v", refusal)
	d.say("  %s after the webhook goes on, the policy is back and the pod admitted", time.Since(begin).Round(time.Millisecond))
	return nil
}

// withoutDefaultDeny deletes a namespace's default-deny and returns how a pod is then refused.
func (d *demo) withoutDefaultDeny(ctx context.Context, namespace string) (refusal, err error) {
	kubeconfig, err := d.plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	webhook, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	err = webhook.NetworkingV1().NetworkPolicies(namespace).Delete(ctx, baseline.DefaultDenyName, metav1.DeleteOptions{})
	if err != nil {
		return nil, err
	}
	pod := plainPod(namespace, "second")
	return refusal, d.until(ctx, "a pod without default-deny is refused", func(ctx context.Context) (bool, error) {
		_, refusal = d.api.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return refusal != nil, nil
	})
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
