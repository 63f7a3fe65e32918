// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// grace is how long the enforcer may take to end when it is asked to.
const grace = 20 * time.Second

func calm(ctx context.Context, l *lab, _ *result) error {
	pause(ctx, 3*settling)
	return nil
}

func controlDetach(ctx context.Context, l *lab, _ *result) error {
	if err := l.enforcer.end(0); err != nil {
		return err
	}
	links, err := filepath.Glob(filepath.Join(l.dir, "bpf", "links", "*"))
	if err != nil || len(links) == 0 {
		return fmt.Errorf("no links are pinned: %v", err)
	}
	for _, path := range links {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	pause(ctx, settling)
	return l.enforcer.start(ctx)
}

func controlDeny(ctx context.Context, l *lab, _ *result) error {
	if err := l.deletePolicy(ctx, "front", "to-back"); err != nil {
		return err
	}
	pause(ctx, stall+3*settling) // a long-lived connection breaks only then
	if err := l.createPolicy(ctx, "front", allowTo("back")); err != nil {
		return err
	}
	pause(ctx, 3*settling)
	return nil
}

// kill also hits the enforcer while it loads policies and while it starts.
func kill(ctx context.Context, l *lab, r *result) error {
	stop := l.noise(ctx)
	defer stop()
	for range l.config.rounds {
		if err := l.enforcer.launchAgain(l.config.binary, 0); err != nil {
			return err
		}
		pause(ctx, rand.N(1500*time.Millisecond))
	}
	if err := l.enforcer.ready(ctx); err != nil {
		return err
	}
	r.note("%d kills; policies were changed %d times", l.config.rounds, stop())
	return l.tryToggle(ctx, r)
}

func killLate(ctx context.Context, l *lab, r *result) error {
	for range max(l.config.rounds/10, 1) {
		if err := l.enforcer.end(0); err != nil {
			return err
		}
		pause(ctx, 5*time.Second)
		if err := l.enforcer.start(ctx); err != nil {
			return err
		}
	}
	return l.tryToggle(ctx, r)
}

func restart(ctx context.Context, l *lab, r *result) error {
	stop := l.noise(ctx)
	defer stop()
	for range max(l.config.rounds/3, 1) {
		if err := l.enforcer.launchAgain(l.config.binary, grace); err != nil {
			return err
		}
		if err := l.enforcer.ready(ctx); err != nil {
			return err
		}
	}
	stop()
	return l.tryToggle(ctx, r)
}

// upgrade goes to other maps and back.
func upgrade(ctx context.Context, l *lab, r *result) error {
	binary, more := l.config.other, []string(nil)
	if binary == "" {
		binary, more = l.config.binary, []string{"--connections=300000"}
	}
	for range max(l.config.rounds/10, 1) {
		before, err := l.layout()
		if err != nil {
			return err
		}
		if err := l.enforcer.launchAgain(binary, grace, more...); err != nil {
			return err
		}
		if err := l.enforcer.ready(ctx); err != nil {
			return err
		}
		after, err := l.layout()
		if err != nil {
			return err
		}
		if before == after {
			return fmt.Errorf("%s has the same maps: nothing was tried", binary)
		}
		pause(ctx, 2*settling)
		if err := l.enforcer.launchAgain(l.config.binary, grace); err != nil {
			return err
		}
		if err := l.enforcer.ready(ctx); err != nil {
			return err
		}
		pause(ctx, 2*settling)
	}
	return l.tryToggle(ctx, r)
}

// layout names the maps that are in use.
func (l *lab) layout() (string, error) {
	found, err := filepath.Glob(filepath.Join(l.dir, "bpf", "maps-*"))
	return strings.Join(found, " "), err
}

// launchAgain ends the enforcer (a grace of 0: kills it) and starts a binary at once, without waiting for it.
func (e *enforcer) launchAgain(binary string, grace time.Duration, more ...string) error {
	if err := e.end(grace); err != nil {
		return err
	}
	return e.launch(binary, more...)
}

// noise changes policies all the time, in ways that change no verdict. stop returns how often.
func (l *lab) noise(ctx context.Context) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			l.makeNoise(ctx, n)
			pause(ctx, 20*time.Millisecond)
		}
		done <- n
	}()
	n := -1
	return func() int {
		if cancel(); n < 0 {
			n = <-done
		}
		return n
	}
}

// makeNoise does one of the changes. An API server that is away refuses them.
func (l *lab) makeNoise(ctx context.Context, n int) {
	name, namespace := fmt.Sprintf("noise-%d", n%7), []string{"back", "front", "open"}[n%3]
	p := policy(name, networkingv1.NetworkPolicySpec{PodSelector: *labelled("team", team(n)), PolicyTypes: []networkingv1.PolicyType{"Ingress"}})
	if namespace == "open" {
		p.Spec.PodSelector = *labelled("app", "nobody")
	} else {
		rule := fromTeam("noise-" + fmt.Sprint(n%11)) // there is no such team
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{rule}
	}
	policies := l.api.NetworkingV1().NetworkPolicies(namespace)
	if _, err := policies.Create(ctx, p, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
		_ = policies.Delete(ctx, name, metav1.DeleteOptions{})
	}
}
