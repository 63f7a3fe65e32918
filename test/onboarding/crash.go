// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	// aliveFor at most is a webhook left between its start and its end: it may not have answered once.
	aliveFor = 1500 * time.Millisecond
	// actors do their deeds at the same time, each with a pause of up to restBetween.
	actors      = 3
	restBetween = 30 * time.Millisecond
	// convergeWithin bounds the time from the last start of a round until all is as it is to be.
	convergeWithin = time.Minute
)

// crash is what the flags of the command say.
type crash struct {
	setup         setup
	rounds, kills int
}

func newCrash(s *setup) *cobra.Command {
	c := crash{}
	cmd := &cobra.Command{
		Use:   "crash",
		Short: "Kill the webhook at random moments and see whether all is as it would be without",
		Long: `Kill the webhook at random moments and see whether all is as it would be without.

While administrators create namespaces, change their modes and profiles, change and delete policies that are the
webhook's, write such policies themselves, move the cluster's DNS, and change a profile's templates, the webhook is
killed (SIGKILL) --kills times a round, 0 to 1.5 s after each start. Then it is started once more, and every managed
policy and every Bulkhead of every namespace is compared with what modes, profiles and DNS ask for: specs, labels, and
that there is nothing else.

Exit status 1: something was still different after a minute.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.setup = *s
			c.setup.apiServers = 1
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&c.rounds, "rounds", 10, "rounds, each with a comparison at its end")
	cmd.Flags().IntVar(&c.kills, "kills", 20, "kills a round")
	return cmd
}

func (c *crash) run(ctx context.Context, out, progress io.Writer) error {
	return inLab(ctx, c.setup, progress, func(l *lab) error {
		webhook, err := l.replica("")
		if err != nil {
			return err
		}
		// Rules let nobody else write managed policies, whatever RBAC allows.
		webhook.command = append(webhook.command, "--trusted-users=admin")
		admin, err := newAdministrators(l)
		if err != nil {
			return err
		}
		// The API server calls nobody before the first registration.
		if err := webhook.start(ctx); err != nil {
			return err
		}
		if err := admin.prepare(ctx); err != nil {
			return err
		}
		if err := admin.tryAll(ctx); err != nil {
			return err
		}
		for round := range c.rounds {
			took, err := c.round(ctx, webhook, admin)
			if err != nil {
				return fmt.Errorf("round %d: %w\n%s", round+1, err, webhook.tail())
			}
			fmt.Fprintf(out, "round %d: %d kills; all as it is to be %.1f s after the last start\n", round+1, c.kills, took.Seconds())
		}
		fmt.Fprintf(out, "deeds: %s\n", admin.deedsDone())
		return nil
	})
}

// round returns how long the webhook took from its last start.
func (c *crash) round(ctx context.Context, webhook *replica, admin *administrators) (time.Duration, error) {
	group, acting := errgroup.WithContext(ctx)
	acting, stop := context.WithCancel(acting)
	defer stop()
	for range actors {
		group.Go(func() error { return admin.act(acting) })
	}
	group.Go(func() error {
		defer stop()
		for range c.kills {
			if err := webhook.kill(); err != nil {
				return err
			}
			if err := webhook.launch(); err != nil {
				return err
			}
			pause(acting, rand.N(aliveFor))
		}
		return webhook.kill()
	})
	if err := group.Wait(); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := webhook.start(ctx); err != nil {
		return 0, err
	}
	return converged(ctx, admin, begin)
}

// converged waits until nothing is different from what is asked for.
func converged(ctx context.Context, admin *administrators, begin time.Time) (time.Duration, error) {
	for {
		now, err := admin.look(ctx)
		if err != nil {
			return 0, err
		}
		wrong, err := now.differences()
		if err != nil {
			return 0, err
		}
		if len(wrong) == 0 {
			return time.Since(begin), nil
		}
		if time.Since(begin) > convergeWithin {
			return 0, fmt.Errorf("%d differences after %s:\n%s", len(wrong), convergeWithin, strings.Join(wrong[:min(len(wrong), 20)], "\n"))
		}
		pause(ctx, 5*pollEvery)
	}
}

func (a *administrators) deedsDone() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a.done)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, a.done[name]))
	}
	return strings.Join(parts, ", ")
}

// tryAll acts until every deed was done once. One that is always refused would test nothing.
func (a *administrators) tryAll(ctx context.Context) error {
	group, acting := errgroup.WithContext(ctx)
	acting, stop := context.WithCancel(acting)
	defer stop()
	group.Go(func() error { return a.act(acting) })
	group.Go(func() error {
		defer stop()
		err := poll(acting, "every deed was done once", func(context.Context) (bool, error) { return a.idle() == nil, nil })
		return errors.Join(err, a.idle())
	})
	return group.Wait()
}

// idle returns an error when a deed was always refused.
func (a *administrators) idle() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range deeds {
		if a.done[name] == 0 {
			return fmt.Errorf("nobody was ever allowed to %s: %w", name, a.refused[name])
		}
	}
	return nil
}
