// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiserver is away while traffic goes on, a pod appears that nobody can tell of, and the enforcer is killed, whose
// next start fails.
func apiserver(ctx context.Context, l *lab, r *result) error {
	var inside error
	err := l.plane.Restart(ctx, func() { inside = l.withoutAPIServer(ctx, r) })
	if err := errors.Join(err, inside); err != nil {
		return err
	}
	if err := l.enforcer.start(ctx); err != nil {
		return err
	}
	return l.tryToggle(ctx, r)
}

func (l *lab) withoutAPIServer(ctx context.Context, r *result) error {
	pause(ctx, l.config.away/2)
	s, err := l.enforcer.status(ctx)
	if err != nil {
		return err
	}
	r.note("%s without an API server: ready %t", l.config.away/2, s.Ready)
	stranger, err := l.openPod("front", fmt.Sprintf("stranger%d", l.next()), nil, l.hostIf(), l.nextAddrs()...)
	if err != nil {
		return err
	}
	edges := []*edge{l.add(stranger, l.pods["open/guest0"], udp, false, openPort, denied), l.add(l.pods["open/guest0"], stranger, udp, true, openPort, denied)}
	defer func() {
		l.forget(edges)
		stranger.close()
	}()
	pause(ctx, l.config.away/4)
	if err := l.enforcer.launchAgain(l.config.binary, 0); err != nil {
		return err
	}
	select {
	case <-l.enforcer.process.Done():
		if text := string(l.enforcer.process.LogTail()); !strings.Contains(text, "reach the API server") {
			r.fail("the enforcer ends without an API server, and does not say why: %s", text)
		}
	case <-time.After(grace):
		r.fail("the enforcer starts without an API server and says nothing for %s", grace)
		return l.enforcer.end(0)
	}
	l.enforcer.process = nil
	pause(ctx, l.config.away/4)
	return nil
}

// cut ends watches while a policy changes.
func cut(ctx context.Context, l *lab, r *result) error {
	x, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next()))
	if err != nil {
		return err
	}
	var longest time.Duration
	for round := range max(l.config.rounds/3, 2) {
		l.wire.cut(round%2 == 1) // every other time there is no way for a moment
		for _, e := range x.edges {
			e.expect(either)
		}
		if round%2 == 0 {
			err = l.createPolicy(ctx, "back", x.policy())
		} else {
			err = l.deletePolicy(ctx, "back", x.name())
		}
		if err != nil {
			return err
		}
		pause(ctx, rand.N(settling))
		l.wire.cut(false)
		took, err := l.catchUp(ctx)
		if err != nil {
			return err
		}
		longest = max(longest, took)
		for _, e := range x.edges {
			e.expect([]verdict{allowed, denied}[round%2])
		}
		pause(ctx, settling)
	}
	r.note("the enforcer was up to date at most %.1f s after it could connect again", longest.Seconds())
	return x.remove(ctx)
}

// catchUp returns when the enforcer has seen a change that is made now.
func (l *lab) catchUp(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	before, err := l.enforcer.status(ctx)
	if err != nil {
		return 0, err
	}
	l.makeNoise(ctx, l.next())
	err = poll(ctx, "the enforcer is up to date", 2*readyWithin, func() error {
		now, err := l.enforcer.status(ctx)
		if err == nil && now.Generation == before.Generation {
			err = fmt.Errorf("it enforces generation %d still", now.Generation)
		}
		return err
	})
	took := time.Since(begun)
	pause(ctx, within)
	return took, err
}

// large gives a pod more rules than fit, and takes them away again.
func large(ctx context.Context, l *lab, r *result) error {
	x, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next()))
	if err != nil {
		return err
	}
	if err := x.allow(ctx); err != nil {
		return err
	}
	failed, err := l.enforcer.metric(ctx, "update_failures_total")
	if err != nil {
		return err
	}
	p := policy("large", networkingv1.NetworkPolicySpec{PodSelector: *labelled("app", x.name())})
	for i := range 1100 {
		p.Spec.Ingress = append(p.Spec.Ingress, fromTeam(fmt.Sprintf("large-%d", i)))
	}
	if err := l.createPolicy(ctx, "back", p); err != nil {
		return err
	}
	l.expectComplaint(ctx, r, x.pod.name, failed)
	late, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next())) // others go on
	if err != nil {
		return err
	}
	if err := late.allow(ctx); err != nil {
		return err
	}
	pause(ctx, settling)
	if err := l.deletePolicy(ctx, "back", "large"); err != nil {
		return err
	}
	begun := time.Now()
	if err := l.enforcer.ready(ctx); err != nil {
		r.fail("after the rules are gone: %v", err)
	}
	r.note("ready %.0f ms after the rules are gone", milliseconds(time.Since(begun)))
	if err := errors.Join(x.deny(ctx), late.deny(ctx)); err != nil {
		return err
	}
	pause(ctx, settling)
	return errors.Join(x.remove(ctx), late.remove(ctx))
}

// expectComplaint sees that status, metrics and the node's condition say what does not fit.
func (l *lab) expectComplaint(ctx context.Context, r *result, pod string, failed float64) {
	err := poll(ctx, "the enforcer says that rules do not fit", readyWithin, func() error {
		s, err := l.enforcer.status(ctx)
		if err == nil && (s.Ready || !strings.Contains(strings.Join(s.Problems, ";"), pod)) {
			err = fmt.Errorf("ready %t, problems %q", s.Ready, s.Problems)
		}
		return err
	})
	if err != nil {
		r.fail("%v", err)
	}
	for name, want := range map[string]func(float64) bool{
		"ready":                 func(v float64) bool { return v == 0 },
		"update_failures_total": func(v float64) bool { return v > failed },
		"policy_errors":         func(float64) bool { return true },
	} {
		if v, err := l.enforcer.metric(ctx, name); err != nil || !want(v) {
			r.fail("rules do not fit, and the metric %s is %v: %v", name, v, err)
		}
	}
	err = poll(ctx, "the node's condition says that rules do not fit", readyWithin, func() error {
		node, err := l.api.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == "BulkheadEnforcing" && c.Status == corev1.ConditionFalse && strings.Contains(c.Message, pod) {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", node.Status.Conditions)
	})
	if err != nil {
		r.fail("%v", err)
	}
}

// churn changes policies as fast as 1,000 a minute; some of the changes decide about packets.
func churn(ctx context.Context, l *lab, r *result) error {
	x, err := l.newExtra(ctx, fmt.Sprintf("extra%d", l.next()))
	if err != nil {
		return err
	}
	begun, n := time.Now(), 0
	tick := time.NewTicker(time.Minute / 1000)
	defer tick.Stop()
	stopped, stop := context.WithTimeout(ctx, l.config.duration)
	defer stop()
	toggles := make(chan error, 1)
	go func() {
		var err error
		for stopped.Err() == nil && err == nil {
			if err = x.allow(ctx); err == nil {
				pause(ctx, settling)
				err = x.deny(ctx)
				pause(ctx, settling)
			}
		}
		toggles <- err
	}()
	for stopped.Err() == nil {
		l.makeNoise(stopped, n)
		n++
		<-tick.C
	}
	r.note("%d changes, %.0f a minute", n, float64(n)/time.Since(begun).Minutes())
	return errors.Join(<-toggles, x.remove(ctx))
}
