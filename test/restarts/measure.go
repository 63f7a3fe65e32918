// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// The signals that replicas are ended with.
const (
	sigterm = "SIGTERM"
	sigkill = "SIGKILL"
)

// maxExamples of messages are kept.
const maxExamples = 5

// measure restarts n replicas in turn under load and appends to the report, also what there is when ctx ends
// early.
func (l *lab) measure(ctx context.Context, signal string, n int, r *report) error {
	if n == 0 {
		return nil
	}
	fmt.Fprintf(l.progress, "%s: %d restarts\n", signal, n)
	begin := time.Now()
	p := phase{Signal: signal}
	all := &load{lab: l}
	var took []time.Duration
	working, ctx := errgroup.WithContext(ctx)
	loaded, done := context.WithCancel(ctx)
	working.Go(func() error {
		all.run(loaded)
		return nil
	})
	working.Go(func() error {
		defer done()
		for i := range n {
			since := time.Now()
			ready, err := l.restart(ctx, signal, i%len(l.replicas))
			if err != nil {
				return fmt.Errorf("restart %d: %w", i+1, err)
			}
			took = append(took, ready)
			p.Restarts++
			p.LongestFailing = max(p.LongestFailing, milliseconds(all.failing(since)))
			if p.Restarts%50 == 0 {
				fmt.Fprintf(l.progress, "  %d of %d\n", p.Restarts, n)
			}
		}
		return nil
	})
	err := working.Wait()
	p.count(all)
	p.ReadyP50, p.ReadyP95, p.Seconds = percentile(took, 50), percentile(took, 95), time.Since(begin).Seconds()
	r.Phases = append(r.Phases, p)
	return err
}

// restart one replica. Of SIGTERM the Service hears at the same moment, as in a cluster; of SIGKILL only by the
// next probe. A new pod is in the Service when it is ready.
func (l *lab) restart(ctx context.Context, signal string, i int) (ready time.Duration, err error) {
	grace := time.Duration(0)
	if signal == sigterm {
		l.balancer.Leave(i)
		grace = endWithin
	}
	if err := l.replicas[i].end(grace); err != nil {
		return 0, err
	}
	if signal == sigkill {
		err := l.poll(ctx, "the Service has noticed a kill", func(context.Context) (bool, error) { return !l.balancer.Routed(i), nil })
		if err != nil {
			return 0, err
		}
	}
	l.balancer.Join(i)
	return l.replicas[i].start(ctx)
}

func (p *phase) count(all *load) {
	p.Requests = all.sent
	for _, o := range all.wrong {
		switch o.kind {
		case admitted:
			p.Admitted++
		case refused:
			p.Refused++
		case noAnswer:
			p.NoAnswer++
		}
		if len(p.Examples) < maxExamples && !slices.Contains(p.Examples, o.message) {
			p.Examples = append(p.Examples, o.message)
		}
	}
}
