// SPDX-License-Identifier: Apache-2.0

// Command onboarding measures whether a pod can be admitted to a namespace before the namespace's
// baseline policies exist, and how long they take, on a real API server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
)

// errEarly is the one failure that is a finding, not a fault of the measurement.
var errEarly = errors.New("pods were admitted before the policies of their namespace existed")

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	setup
	namespaces int // of each race
	parallel   []int
	states     []string
	existing   int // 0: that measurement is left out
	output     string
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "onboarding",
		Short: "Measure whether a pod can be faster than the policies of its namespace",
		Long: `Measure whether a pod can be faster than the policies of its namespace.

A race: creators, --parallel at a time, each create a namespace and, as soon as the API server has answered,
a pod in it. What is refused is tried again after 10 ms. Every race has a control plane of its own, with
bulkhead-webhook as a process beside it, in one of three --states:

  running     the webhook runs all the time
  restarting  it is killed (SIGKILL), started, and killed again as soon as it has been ready for a moment
  stopped     it is killed when half of the namespaces exist. From then on creators give up after three
              refusals, because nothing gets better

A pod is EARLY when its resourceVersion is smaller than the one that either baseline policy of its namespace
was created with, or when they never come. Clocks play no part in that. The columns:

  POLICIES P50…   from the answer to the namespace's creation until a watch shows the second policy
  REFUSED FIRST   share of the namespaces with a pod whose pod was refused at least once (403 or 422)
  NO NAMESPACE    namespaces that were refused until their creator gave up
  NO POD          pods that were refused until their creator gave up
  REFUSED NS      refusals of namespaces, all tries counted

With two --api-servers on one etcd, a namespace is created through one and its pod through the other; the
webhook watches the first.

The last line is about --existing namespaces in mode enforce that exist before the webhook starts for the first
time: the time from its start to the last of their policies.

Exit status 1: a pod was early, or the measurement failed.`,
		Example: `  make bench-onboarding
  bin/onboarding --namespaces 200 --parallel 16 --states running --existing 0
  bin/onboarding --api-servers 2 -o json > onboarding.json`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return run(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.namespaces, "namespaces", 2000, "namespaces of each race")
	f.IntSliceVar(&c.parallel, "parallel", []int{1, 16, 64}, "creators at a time, one race for each")
	f.StringSliceVar(&c.states, "states", states, "states of the webhook, one race for each")
	f.IntVar(&c.apiServers, "api-servers", 1, "API servers on one etcd: 1 or 2")
	f.IntVar(&c.existing, "existing", 5000, "namespaces that exist before the webhook (0: do not measure this)")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	p := cmd.PersistentFlags()
	p.StringVar(&c.webhook, "webhook", "bin/bulkhead-webhook", "the bulkhead-webhook to run")
	p.StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart, for the webhook's role")
	cmd.AddCommand(newLoad(&c.setup), newCrash(&c.setup), newHandover(&c.setup))
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

// maxNamespaces is more than a cluster has; etcd is in memory.
const maxNamespaces = 100_000

func (c *config) check() error {
	var errs []error
	for _, n := range append([]int{c.namespaces}, c.parallel...) {
		if n < 1 || n > maxNamespaces {
			errs = append(errs, fmt.Errorf("--namespaces and --parallel: %d is not between 1 and %d", n, maxNamespaces))
		}
	}
	for _, s := range c.states {
		if !slices.Contains(states, s) {
			errs = append(errs, fmt.Errorf("--states: %q is none of %v", s, states))
		}
	}
	if c.apiServers < 1 || c.apiServers > 2 {
		errs = append(errs, fmt.Errorf("--api-servers: %d is neither 1 nor 2", c.apiServers))
	}
	if c.existing < 0 || c.existing > maxNamespaces {
		errs = append(errs, fmt.Errorf("--existing: %d is not between 0 and %d", c.existing, maxNamespaces))
	}
	if c.output != "table" && c.output != "json" {
		errs = append(errs, fmt.Errorf("--output: %q is neither table nor json", c.output))
	}
	return errors.Join(errs...)
}

// run measures everything that c asks for and prints it, also what there is when ctx ends early.
func run(ctx context.Context, c config, out, progress io.Writer) error {
	var r report
	err := r.measure(ctx, c, progress)
	err = errors.Join(err, r.print(out, c.output))
	for _, race := range r.Races {
		if race.Early > 0 {
			return errors.Join(err, errEarly)
		}
	}
	return err
}

func (r *report) measure(ctx context.Context, c config, progress io.Writer) error {
	for _, state := range c.states {
		for _, parallel := range c.parallel {
			fmt.Fprintf(progress, "%s, %d at a time: %d namespaces\n", state, parallel, c.namespaces)
			err := inLab(ctx, c.setup, progress, func(l *lab) error {
				result, err := l.race(ctx, state, parallel, c.namespaces)
				if err == nil {
					r.Races = append(r.Races, result)
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("%s, %d at a time: %w", state, parallel, err)
			}
		}
	}
	if c.existing == 0 {
		return nil
	}
	fmt.Fprintf(progress, "existing: %d namespaces\n", c.existing)
	return inLab(ctx, c.setup, progress, func(l *lab) (err error) {
		r.Existing, err = l.bringExisting(ctx, c.existing)
		return err
	})
}
