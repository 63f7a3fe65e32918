// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

const replicas = 3

// handover is what the flags of the command say.
type handover struct {
	setup  setup
	kills  int
	within time.Duration
}

func newHandover(s *setup) *cobra.Command {
	c := handover{}
	cmd := &cobra.Command{
		Use:   "handover",
		Short: "Measure how long onboarding takes when one of three replicas is killed",
		Long: `Measure how long onboarding takes when one of three replicas is killed.

Three replicas of the webhook run behind one address. One after the other is killed (SIGKILL), and at the same
moment a namespace is created; what is refused is tried again after 10 ms. Two times are measured from the kill: until
the namespace has its policies, and until its Bulkhead shows that it is ready. Then the replica is started again.

Exit status 1: it took longer than --within, or the measurement failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.setup = *s
			c.setup.apiServers = 1
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().IntVar(&c.kills, "kills", 30, "how many replicas are killed, one after the other")
	cmd.Flags().DurationVar(&c.within, "within", 2*time.Second, "the longest that it may take")
	return cmd
}

func (c *handover) run(ctx context.Context, out, progress io.Writer) error {
	return inLab(ctx, c.setup, progress, func(l *lab) (err error) {
		service, err := newFront()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, service.listener.Close()) }()
		for range replicas {
			r, err := l.replica(service.url())
			if err != nil {
				return err
			}
			service.add(r.listen)
			if err := r.start(ctx); err != nil {
				return err
			}
		}
		if err := l.untilCalled(ctx); err != nil {
			return err
		}
		return c.measure(ctx, l, out)
	})
}

// untilCalled waits until the API server has learnt of the registration.
func (l *lab) untilCalled(ctx context.Context) error {
	return poll(ctx, "the API server calls the webhook", func(ctx context.Context) (bool, error) {
		ns, err := l.createNamespace(ctx, l.apis[0], fmt.Sprintf("called-%d", time.Now().UnixNano()))
		return err == nil && ns.Labels["bulkhead.dev/mode"] != "", nil
	})
}

func (c *handover) measure(ctx context.Context, l *lab, out io.Writer) error {
	admin, err := newAdministrators(l)
	if err != nil {
		return err
	}
	seen, err := watchPolicies(ctx, l.apis[0])
	if err != nil {
		return err
	}
	var policies, views []time.Duration
	for i := range c.kills {
		replica := l.replicas[i%replicas]
		if err := replica.kill(); err != nil {
			return err
		}
		begin := time.Now()
		name := fmt.Sprintf("shop-%d", i)
		if _, err := insist(ctx, nil, func() error { _, err := l.createNamespace(ctx, l.apis[0], name); return err }); err != nil {
			return err
		}
		if err := seen.settle(ctx, name); err != nil {
			return err
		}
		of, ok := seen.of(name)
		if !ok {
			return fmt.Errorf("namespace %s has no policies after %s", name, settleWithin)
		}
		if err := admin.untilShown(ctx, name); err != nil {
			return err
		}
		policies, views = append(policies, of.complete.Sub(begin)), append(views, time.Since(begin))
		if err := replica.start(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "from the kill of one of %d replicas, %d times:\n", replicas, c.kills)
	return errors.Join(c.judge(out, "until the next namespace has its policies", policies), c.judge(out, "until its Bulkhead says so", views))
}

func (c *handover) judge(out io.Writer, what string, took []time.Duration) error {
	slices.Sort(took)
	most := took[len(took)-1]
	fmt.Fprintf(out, "%s: p50 %.0f ms, longest %.0f ms\n", what, percentile(took, 50), milliseconds(most))
	if most > c.within {
		return fmt.Errorf("%s: %s, longer than %s", what, most.Round(time.Millisecond), c.within)
	}
	return nil
}

// untilShown waits until the Bulkhead of the namespace says that it is ready.
func (a *administrators) untilShown(ctx context.Context, namespace string) error {
	return poll(ctx, "the Bulkhead of "+namespace+" says that it is ready", func(ctx context.Context) (bool, error) {
		var shown profile.Bulkhead
		err := a.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: profile.BulkheadName}, &shown)
		return err == nil && meta.IsStatusConditionTrue(shown.Status.Conditions, profile.Ready), client.IgnoreNotFound(err)
	})
}
