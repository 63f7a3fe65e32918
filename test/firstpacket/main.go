// SPDX-License-Identifier: Apache-2.0

// Command firstpacket measures on a real node what pods can send, and what reaches them, from the first instruction of
// their first container.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/program"
)

// errFound is the one failure that is a finding, not a fault of the measurement.
var errFound = errors.New("something leaked, or was lost")

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	cni       cluster.CNI
	bypass    bool   // of netfilter, by what a bridge passes from pod to pod
	binary    string // of the enforcer
	chart     string
	output    string
	scenarios []string
	pods      int // that may send nothing, in each scenario
	atOnce    int // of them
	plain     bool
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "firstpacket",
		Short: "Measure that no packet of a new pod is judged by anything but its policies",
		Long: `Measure that no packet of a new pod is judged by anything but its policies.

On a real node, pods start --at-once at a time. Each sends a numbered datagram a millisecond and opens one TCP
connection after the other, from its first instruction, to a pod, to the node and to an address outside. Another
pod sends to the addresses that new pods are about to get. Some pods have init containers, some crash and are
started again, of some the sandbox is killed and made anew.

Of pods that may send nothing (namespace denied), nothing may arrive. Of others, nothing may be lost: those of
namespace allowed have a policy, audited and watched are not enforced. Where the agent learns of a pod only after
its start, the pod is cut off until then ("early"); nothing may be lost after that ("late").

Scenarios:
` + describe() + `
What the enforcer says about itself is left in --output. Exit status 1: something leaked, or was lost, or the
measurement failed.`,
		Example: `  make bench-firstpacket
  bin/firstpacket --cni bridge --scenarios nri,killed --pods 40`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar((*string)(&c.cni), "cni", string(cluster.PTP), "how pods are connected: ptp or bridge")
	f.BoolVar(&c.bypass, "bridge-bypasses-netfilter", false, "net.bridge.bridge-nf-call-iptables=0, against the advice for nodes")
	f.StringVar(&c.binary, "enforcer", "bin/bulkhead-enforcer", "the enforcer to run")
	f.StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart, for the enforcer's rights")
	f.StringVar(&c.output, "output", "bin/firstpacket-output", "where logs are left")
	f.StringSliceVar(&c.scenarios, "scenarios", names(), "which to play, in this order")
	f.IntVar(&c.pods, "pods", 100, "pods that may send nothing, in each scenario")
	f.IntVar(&c.atOnce, "at-once", 20, "how many of them start at the same time")
	f.BoolVar(&c.plain, "plain", false, "only pods with one container that is started once, which is quicker")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func names() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

func describe() string {
	var text strings.Builder
	for _, s := range scenarios {
		fmt.Fprintf(&text, "  %-12s %s\n", s.name, s.description)
	}
	return text.String()
}

func run(ctx context.Context, c config, out io.Writer) (err error) {
	chosen, err := choose(c.scenarios)
	if err != nil {
		return err
	}
	if c.pods < 1 || c.atOnce < 1 {
		return fmt.Errorf("--pods %d, --at-once %d: want at least 1", c.pods, c.atOnce)
	}
	for _, path := range []*string{&c.output, &c.binary} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	l, err := newLab(ctx, c, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	var findings []string
	for _, s := range chosen {
		o, err := l.play(ctx, s)
		if err != nil {
			return err
		}
		o.print(out)
		findings = append(findings, o.findings...)
	}
	if len(findings) > 0 {
		return fmt.Errorf("%w:\n%s", errFound, strings.Join(findings, "\n"))
	}
	return nil
}

func choose(names []string) (chosen []scenario, err error) {
	for _, name := range names {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown scenario %q; there are:\n%s", name, describe())
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}
