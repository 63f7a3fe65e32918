// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the enforcer may take.
const (
	revokeWithin  = 50 * time.Millisecond // p99: from the event to the last packet of an open connection
	applyWithin   = 20 * time.Millisecond // p99: from the event to the first packet
	maxResident   = 80 << 20              // bytes
	maxProcessor  = 0.005                 // of one processor, when nothing happens
	populationPer = 100                   // pods in a namespace
)

// populate makes pods on other nodes, and policies for them; some select pods of this node. Doing so again does
// nothing.
func (l *lab) populate(ctx context.Context) error {
	if l.populated || l.config.pods == 0 {
		return nil
	}
	begun := time.Now()
	spaces := max(l.config.pods/populationPer, 1)
	err := parallel(ctx, spaces, func(ctx context.Context, i int) error {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: crowd(i), Labels: map[string]string{"bulkhead.dev/mode": "enforce"}}}
		_, err := l.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return err
	}
	if err := parallel(ctx, l.config.pods, func(ctx context.Context, i int) error { return l.createRemote(ctx, i, spaces) }); err != nil {
		return err
	}
	err = parallel(ctx, l.config.policies, func(ctx context.Context, i int) error {
		p := policy(fmt.Sprintf("crowd-%d", i), networkingv1.NetworkPolicySpec{PodSelector: *labelled("team", team(i))})
		rule := fromTeam(team(i / 2))
		rule.From[0].NamespaceSelector = inNamespace(crowd((i + 1) % spaces))
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
		if i%10 == 0 {
			return l.createPolicy(ctx, "back", p)
		}
		return l.createPolicy(ctx, crowd(i%spaces), p)
	})
	l.populated = err == nil
	fmt.Fprintf(l.progress, "  %d pods and %d policies were made in %s\n", l.config.pods, l.config.policies, time.Since(begun).Round(time.Second))
	if err != nil {
		return err
	}
	if _, err := l.catchUp(ctx); err != nil {
		return err
	}
	return l.enforcer.ready(ctx)
}

func crowd(i int) string { return fmt.Sprintf("crowd-%d", i) }

func (l *lab) createRemote(ctx context.Context, i, spaces int) error {
	pods := l.api.CoreV1().Pods(crowd(i % spaces))
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Labels: map[string]string{"team": team(i / spaces), "app": fmt.Sprintf("app-%d", i%1000)}},
		Spec:       corev1.PodSpec{NodeName: fmt.Sprintf("other-%d", i%100), Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}
	object, err := pods.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	addr := fmt.Sprintf("10.128.%d.%d", i/250, i%250+1)
	object.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: addr, PodIPs: []corev1.PodIP{{IP: addr}}}
	_, err = pods.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	return err
}

// parallel does n things, 16 at a time.
func parallel(ctx context.Context, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := do(ctx, i); !apierrors.IsAlreadyExists(err) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

// latency measures from the moment at which a watch tells of a change.
func latency(ctx context.Context, l *lab, r *result) error {
	if err := l.populate(ctx); err != nil {
		return err
	}
	x, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next()))
	if err != nil {
		return err
	}
	for _, e := range x.edges {
		e.expect(either)
	}
	told, stop, err := l.events(ctx, x.name())
	if err != nil {
		return err
	}
	defer stop()
	m := newMeter(ctx, x, told)
	defer m.end()
	for range l.config.rounds {
		if err := m.round(ctx); err != nil {
			return err
		}
	}
	r.Times = append(r.Times,
		newTiming("event to the first allowed packet", applyWithin, m.applied),
		newTiming("event to the last byte of an open connection", revokeWithin, m.revoked))
	return x.remove(ctx)
}

// size stops all traffic.
func size(ctx context.Context, l *lab, r *result) error {
	if err := l.populate(ctx); err != nil {
		return err
	}
	l.paused.Store(true)
	defer l.paused.Store(false)
	pause(ctx, 5*settling)
	_, before, err := l.enforcer.usage()
	if err != nil {
		return err
	}
	pause(ctx, l.config.idle)
	resident, after, err := l.enforcer.usage()
	if err != nil {
		return err
	}
	share := (after - before).Seconds() / l.config.idle.Seconds()
	r.note("memory %.0f MiB; processor %.2f %% of one when nothing happens; %d pods, %d policies", float64(resident)/(1<<20), 100*share, l.config.pods, l.config.policies)
	if resident > maxResident {
		r.fail("memory may be %d MiB", maxResident>>20)
	}
	if share > maxProcessor {
		r.fail("processor may be %.1f %%", 100*maxProcessor)
	}
	return nil
}
