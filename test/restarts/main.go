// SPDX-License-Identifier: Apache-2.0

// Command restarts restarts the replicas of bulkhead-webhook one after another while a real API server asks
// them for judgement, and counts what is judged wrongly.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
)

// errJudged is the one failure that is a finding, not a fault of the measurement.
var errJudged = errors.New("requests were judged wrongly, or not at all")

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	webhook  string // the binary
	chart    string // folder of the Helm chart
	replicas int
	restarts int
	kills    int // after the restarts
	parallel int
	rate     int // requests a second
	drain    time.Duration
	probe    time.Duration
	delay    time.Duration
	output   string
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "restarts",
		Short: "Measure whether restarts of bulkhead-webhook let anything through or refuse anything",
		Long: `Measure whether restarts of bulkhead-webhook let anything through or refuse anything.

The Helm chart is installed on a real API server, with --replicas of bulkhead-webhook as processes behind its Service.
One after another gets SIGTERM, is waited for, is started again and is waited for until it is ready.
All the time --parallel clients send valid and violating namespaces and NetworkPolicies, as dry runs: they are
judged as others are, and the cluster stays small.

The Service passes on connections to replicas that were ready at the last --probe. It hears of a replica that
ends when that gets SIGTERM, and everything it hears of takes --delay to have effect, as in a cluster, where
that is a second or so. --drain is the webhook's flag; it must be longer.

After the restarts --kills replicas are killed without notice (SIGKILL). Calls to one that is dead and
still in the Service fail, so those columns need not be 0. The columns:

  ADMITTED   violating requests that were admitted
  REFUSED    valid requests that were refused, for whatever reason
  NO ANSWER  requests, valid or violating, of which the API server says that the webhook did not answer
  LONGEST    the longest time in which requests failed for one kill

Exit status 1: a restart had a column that is not 0, a kill let something through, or the measurement failed.`,
		Example: `  make bench-restarts
  bin/restarts --restarts 20 --kills 0
  bin/restarts --restarts 0 --kills 20 --probe 5s -o json`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return run(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.webhook, "webhook", "bin/bulkhead-webhook", "the bulkhead-webhook to run")
	f.StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart")
	f.IntVar(&c.replicas, "replicas", 3, "replicas of the webhook")
	f.IntVar(&c.restarts, "restarts", 1000, "restarts, of one replica each")
	f.IntVar(&c.kills, "kills", 20, "kills, of one replica each")
	f.IntVar(&c.parallel, "parallel", 4, "clients")
	f.IntVar(&c.rate, "rate", 100, "requests a second of all clients together")
	f.DurationVar(&c.drain, "drain", time.Second, "how long a replica answers on after SIGTERM")
	f.DurationVar(&c.probe, "probe", 100*time.Millisecond, "between two readiness probes")
	f.DurationVar(&c.delay, "delay", 300*time.Millisecond, "until a change of the Service's endpoints has effect")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	return cmd
}

const (
	// maxRestarts takes a day.
	maxRestarts = 100_000
	// maxReplicas are as many as a small machine has memory for.
	maxReplicas = 20
	// maxLoad of clients, and of requests a second, is more than one API server takes.
	maxLoad = 10_000
)

func (c *config) check() error {
	var errs []error
	between := func(flag string, n, low, high int) {
		if n < low || n > high {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", flag, n, low, high))
		}
	}
	between("--replicas", c.replicas, 2, maxReplicas)
	between("--restarts", c.restarts, 0, maxRestarts)
	between("--kills", c.kills, 0, maxRestarts)
	between("--parallel", c.parallel, 1, maxLoad)
	between("--rate", c.rate, 1, maxLoad)
	if c.probe <= 0 || c.delay <= 0 || c.drain < 0 {
		errs = append(errs, errors.New("--probe, --delay and --drain: a time is not positive"))
	}
	if c.output != "table" && c.output != "json" {
		errs = append(errs, fmt.Errorf("--output: %q is neither table nor json", c.output))
	}
	return errors.Join(errs...)
}

// run measures everything that c asks for and prints it, also what there is when ctx ends early.
func run(ctx context.Context, c config, out, progress io.Writer) error {
	var r report
	err := inLab(ctx, c, progress, func(l *lab) error {
		if err := l.measure(ctx, sigterm, c.restarts, &r); err != nil {
			return err
		}
		return l.measure(ctx, sigkill, c.kills, &r)
	})
	err = errors.Join(err, r.print(out, c.output))
	if r.wrong() {
		return errors.Join(err, errJudged)
	}
	return err
}
