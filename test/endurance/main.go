// SPDX-License-Identifier: Apache-2.0

// Command endurance runs bulkhead-enforcer on a node full of traffic through everything that can happen to it, and
// counts the packets for which it made a difference.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/node"
	"github.com/bulkhead-dev/bulkhead/test/program"
)

// errWrong is the one failure that is a finding, not a fault of the experiment.
var errWrong = errors.New("the enforcer did not do what it must")

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	binary   string // bulkhead-enforcer
	other    string // a build of it with other maps; empty: none is tried
	chart    string
	every    time.Duration // between two packets of a kind
	duration time.Duration // of a scenario that has no end of its own
	away     time.Duration // of the API server
	rounds   int           // of what is repeated
	pods     int           // of other nodes, for size
	policies int           // that select them
	idle     time.Duration
	keep     bool
	output   string

	scenarios []string
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "endurance [SCENARIO...]",
		Short: "Measure that bulkhead-enforcer leaks and loses no packet, whatever happens to it",
		Long: `Measure that bulkhead-enforcer leaks and loses no packet, whatever happens to it.

In network and mount namespaces of its own, this makes a node with 20 pods and runs bulkhead-enforcer on it, against a
real API server. All the time, pods open connections and send datagrams, allowed ones and denied ones, of IPv4 and
IPv6, and hold connections open in which they talk. What is expected of each is written down beside the policies, not
computed from them. While a policy changes, either is right until a second after the API server's watch told of it.

` + scenarioHelp() + `

The columns:

  LEAKED   denied packets that arrived, and denied connections that opened
  DROPPED  allowed packets that did not arrive, and allowed connections that did not open, or only after a packet of
           them was sent again
  BROKEN   long-lived TCP connections that ended, or stood still for 6 s

All must be 0, but for those scenarios whose name begins with "control": they break enforcement on purpose, and see
that it is noticed.

Exit status 1: a number that must be 0 is not, a time was longer than it may be, or the experiment failed.`,
		Example: `  make bench-endurance
  bin/endurance kill restart
  bin/endurance --away 5m apiserver
  bin/endurance --pods 10000 --policies 1000 latency size`,
		ValidArgs: slices.Sorted(maps.Keys(byName())), SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.scenarios = args; len(args) == 0 {
				c.scenarios = names()
			}
			if err := c.check(); err != nil {
				return err
			}
			return node.Run(func() error { return run(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.binary, "enforcer", "bin/bulkhead-enforcer", "the bulkhead-enforcer to run")
	f.StringVar(&c.other, "other", "", "a build of it with other maps, for the scenario upgrade; empty: the same with a larger table of connections")
	f.StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart, for the enforcer's role")
	f.DurationVar(&c.every, "every", 40*time.Millisecond, "time between two packets or connections of a kind")
	f.DurationVar(&c.duration, "duration", time.Minute, "of a scenario that has no end of its own")
	f.DurationVar(&c.away, "away", 5*time.Minute, "how long the API server is away")
	f.IntVar(&c.rounds, "rounds", 30, "how often the enforcer is killed, and so on")
	f.IntVar(&c.pods, "pods", 10_000, "pods on other nodes, for the scenarios latency and size")
	f.IntVar(&c.policies, "policies", 1000, "policies of theirs")
	f.DurationVar(&c.idle, "idle", time.Minute, "how long it is measured how much the enforcer takes when nothing happens")
	f.BoolVar(&c.keep, "keep", false, "keep the directory with the enforcer's logs")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func (c *config) check() error {
	var errs []error
	between := func(flag string, n, low, high int) {
		if n < low || n > high {
			errs = append(errs, fmt.Errorf("%s: %d is not between %d and %d", flag, n, low, high))
		}
	}
	between("--rounds", c.rounds, 1, 10_000)
	between("--pods", c.pods, 0, 20_000)
	between("--policies", c.policies, 0, 10_000)
	for flag, d := range map[string]time.Duration{"--every": c.every, "--duration": c.duration, "--away": c.away, "--idle": c.idle} {
		if d < time.Millisecond || d > 24*time.Hour {
			errs = append(errs, fmt.Errorf("%s: %s is not between 1ms and 24h", flag, d))
		}
	}
	if c.output != "table" && c.output != "json" {
		errs = append(errs, fmt.Errorf("--output: %q is neither table nor json", c.output))
	}
	for _, name := range c.scenarios {
		if byName()[name] == nil {
			errs = append(errs, fmt.Errorf("%q is no scenario; there are %s", name, strings.Join(names(), ", ")))
		}
	}
	return errors.Join(errs...)
}

// run goes through the scenarios and prints what came of them, also what there is when ctx ends early.
func run(ctx context.Context, c config, out, progress io.Writer) error {
	var r report
	err := inLab(ctx, c, progress, func(ctx context.Context, l *lab) error {
		for _, name := range c.scenarios {
			fmt.Fprintf(progress, "%s: %s\n", name, byName()[name].about)
			result, err := l.goThrough(ctx, byName()[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			r.Results = append(r.Results, result)
			fmt.Fprintf(progress, "  %s\n", result.line())
		}
		return nil
	})
	err = errors.Join(err, r.print(out, c.output))
	if r.wrong() {
		return errors.Join(err, errWrong)
	}
	return err
}
