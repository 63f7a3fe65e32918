// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The states of the webhook during a race.
const (
	running    = "running"
	restarting = "restarting"
	stopped    = "stopped"
)

var states = []string{running, restarting, stopped}

const (
	// upFor is how long the webhook stays ready between two restarts.
	upFor = 200 * time.Millisecond
	// raceWithin bounds one race.
	raceWithin = 20 * time.Minute
)

// race is one measurement under way.
type race struct {
	lab     *lab
	webhook *replica
	seen    *arrivals
	state   string
	created atomic.Int64  // namespaces
	half    chan struct{} // closed when half of them are
	n       int
	over    atomic.Bool // the webhook will not come back

	mu       sync.Mutex
	outcomes []outcome
}

// race has n namespaces created, with a pod each. The webhook must not run yet.
func (l *lab) race(ctx context.Context, state string, parallel, n int) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, raceWithin)
	defer cancel()
	seen, err := watchPolicies(ctx, l.apis[0])
	if err != nil {
		return result{}, fmt.Errorf("watch NetworkPolicies: %w", err)
	}
	webhook, err := l.replica("")
	if err != nil {
		return result{}, err
	}
	if err := webhook.start(ctx); err != nil {
		return result{}, err
	}
	if err := l.untilGateIsShut(ctx, webhook); err != nil {
		return result{}, err
	}
	r := &race{lab: l, webhook: webhook, seen: seen, state: state, n: n, half: make(chan struct{})}
	begin := time.Now()
	restarts, err := r.run(ctx, parallel)
	if err != nil {
		return result{}, err
	}
	took := time.Since(begin)
	s, err := r.judge(ctx)
	s.State, s.Parallel, s.APIServers, s.Namespaces = state, parallel, len(l.apis), n
	s.Restarts, s.Seconds = restarts, took.Seconds()
	return s, err
}

// run returns when all creators have finished, with the number of restarts.
func (r *race) run(ctx context.Context, parallel int) (restarts int, err error) {
	racing, ctx := errgroup.WithContext(ctx)
	disturbed, done := context.WithCancel(ctx)
	racing.Go(func() (err error) {
		restarts, err = r.disturb(disturbed)
		return err
	})
	racing.Go(func() error {
		defer done()
		return r.create(ctx, parallel)
	})
	err = racing.Wait()
	return restarts, err
}

// disturb does to the webhook what the state says, until ctx ends. The webhook that it leaves behind in
// state restarting is ready.
func (r *race) disturb(ctx context.Context) (restarts int, err error) {
	switch r.state {
	case running:
		select {
		case <-ctx.Done():
		case <-r.webhook.process.Done():
			err = r.webhook.process.EndedByItself()
		}
	case restarting:
		for ctx.Err() == nil {
			if err := r.webhook.kill(); err != nil {
				return restarts, err
			}
			if err := r.webhook.start(context.WithoutCancel(ctx)); err != nil {
				return restarts, err
			}
			restarts++
			pause(ctx, upFor)
		}
	case stopped:
		select {
		case <-ctx.Done():
		case <-r.half:
			err = r.webhook.kill()
			r.over.Store(true)
		}
	}
	return restarts, err
}

func (r *race) create(ctx context.Context, parallel int) error {
	creators, ctx := errgroup.WithContext(ctx)
	creators.SetLimit(parallel)
	for i := range r.n {
		creators.Go(func() error {
			// A namespace comes through either API server, its pod through the other.
			apis := r.lab.apis
			o, err := r.onboard(ctx, apis[i%len(apis)], apis[(i+1)%len(apis)], fmt.Sprintf("shop-%d", i))
			r.mu.Lock()
			defer r.mu.Unlock()
			r.outcomes = append(r.outcomes, o)
			if done := len(r.outcomes); done%500 == 0 {
				fmt.Fprintf(r.lab.progress, "  %d of %d\n", done, r.n)
			}
			return err
		})
	}
	return creators.Wait()
}

// judge looks at what came of every namespace.
func (r *race) judge(ctx context.Context) (s result, err error) {
	exist, refused := 0, 0
	var took []time.Duration
	for _, o := range r.outcomes {
		s.NamespacesRefusals += o.nsRefusals
		if o.answered.IsZero() {
			s.NoNamespace++
			continue
		}
		exist++
		if o.refusals > 0 {
			refused++
		}
		if o.version == "" {
			s.NoPod++
		} else if err := r.seen.settle(ctx, o.namespace); err != nil {
			return s, err
		} else if r.seen.early(o.namespace, o.version) {
			s.Early++
			s.EarlyIn = append(s.EarlyIn, o.namespace)
		}
		if of, ok := r.seen.of(o.namespace); ok {
			took = append(took, max(0, of.complete.Sub(o.answered)))
		}
	}
	if exist > 0 {
		s.RefusedFirst = float64(refused) / float64(exist)
	}
	s.latencies(took)
	return s, nil
}
