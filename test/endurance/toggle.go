// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// within is how long after the event of a change either verdict is right.
const within = time.Second

// change writes something on which edges depend, and returns when the new verdict is expected of them.
func (l *lab) change(ctx context.Context, edges []*edge, want verdict, write func() error) error {
	for _, e := range edges {
		e.expect(either)
	}
	if err := write(); err != nil {
		return err
	}
	pause(ctx, within) // the write returned after the event was there to be sent
	for _, e := range edges {
		e.expect(want)
	}
	return nil
}

// extra is a pod that a policy of its own lets one pod of front reach, or not.
type extra struct {
	l     *lab
	pod   *pod
	from  *pod
	edges []*edge
}

func (l *lab) newExtra(ctx context.Context, name string) (*extra, error) {
	p, err := l.startPod(ctx, "back", name, map[string]string{"app": name})
	if err != nil {
		return nil, err
	}
	x := &extra{l: l, pod: p, from: l.pods["front/web0"]}
	for _, six := range []bool{false, true} {
		x.edges = append(x.edges, l.add(x.from, p, tcp, six, openPort, denied), l.add(x.from, p, udp, six, openPort, denied))
	}
	return x, nil
}

func (x *extra) policy() *networkingv1.NetworkPolicy {
	p := allowFrom("a", 1)
	p.Name, p.Spec.PodSelector = x.name(), *labelled("app", x.name())
	return p
}

func (x *extra) name() string { return x.pod.labels["app"] }

func (x *extra) allow(ctx context.Context) error {
	return x.l.change(ctx, x.edges, allowed, func() error { return x.l.createPolicy(ctx, "back", x.policy()) })
}

func (x *extra) deny(ctx context.Context) error {
	return x.l.change(ctx, x.edges, denied, func() error { return x.l.deletePolicy(ctx, "back", x.name()) })
}

// remove ends the pod.
func (x *extra) remove(ctx context.Context) error {
	x.l.forget(x.edges)
	x.pod.close()
	return x.l.withdraw(ctx, x.pod)
}

// tryToggle sees that changes still have effect.
func (l *lab) tryToggle(ctx context.Context, _ *result) error {
	x, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next()))
	if err != nil {
		return err
	}
	if err := x.allow(ctx); err != nil {
		return err
	}
	pause(ctx, settling)
	if err := x.deny(ctx); err != nil {
		return err
	}
	pause(ctx, settling)
	return x.remove(ctx)
}

// events are when changes of a policy of back were told of by a watch.
func (l *lab) events(ctx context.Context, name string) (<-chan time.Time, func(), error) {
	w, err := l.api.NetworkingV1().NetworkPolicies("back").Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil, nil, err
	}
	told := make(chan time.Time, 16)
	go func() {
		for event := range w.ResultChan() {
			if event.Type == watch.Added || event.Type == watch.Deleted {
				told <- time.Now()
			}
		}
	}()
	return told, w.Stop, nil
}
