// SPDX-License-Identifier: Apache-2.0

// Command conformance runs Kubernetes' own tests of NetworkPolicy on a cluster of real nodes whose one policy
// engine is bulkhead-enforcer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/test/program"
)

// errFailed is the one failure that is a finding, not a fault of the measurement.
var errFailed = errors.New("not every spec passed")

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	cluster.FullOptions
	enforcer string // path of the binary; empty: none
	chart    string
	focus    string
	skip     string
	output   string
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Run Kubernetes' tests of NetworkPolicy against bulkhead-enforcer",
		Long: `Run Kubernetes' tests of NetworkPolicy against bulkhead-enforcer.

A cluster is started from source; the enforcer runs as the DaemonSet of the Helm chart, and every new namespace gets
the mode enforce from an admission policy. Then e2e.test of Kubernetes runs what --focus and --skip leave.

With --enforcer= there is none, and nearly all specs must fail: so it is seen that they can.

What is left in --output: e2e.log and report.json of the suite and, of each node, the enforcer's status, metrics
and log. Exit status 1: a spec failed, or the run did.`,
		Example: `  make conformance
  bin/conformance --cni bridge --nodes 2
  bin/conformance --enforcer= --focus 'Netpol.*default-deny-ingress'`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.Nodes, "nodes", 1, "nodes of the cluster")
	f.StringVar((*string)(&c.CNI), "cni", string(cluster.PTP), "how pods are connected: ptp or bridge")
	f.BoolVar(&c.IPv6, "ipv6", false, "IPv6 and IPv4 addresses, the former primary: what the specs try goes over IPv6")
	f.StringVar(&c.enforcer, "enforcer", "bin/bulkhead-enforcer", "the enforcer to run; empty: none")
	f.StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart")
	f.StringVar(&c.focus, "focus", "Netpol", "regular expression of the specs to run")
	f.StringVar(&c.skip, "skip", "SCTPConnectivity", "regular expression of the specs to leave out")
	f.StringVar(&c.output, "output", "bin/conformance-output", "where logs and the report are left")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func run(ctx context.Context, c config, out io.Writer) (err error) {
	if c.output, err = filepath.Abs(c.output); err != nil {
		return err
	}
	if err := os.MkdirAll(c.output, 0o755); err != nil {
		return err
	}
	c.Log = out
	running, err := cluster.StartFull(ctx, c.FullOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	l := &lab{config: c, Cluster: running, out: out}
	if err := l.enforceNewNamespaces(ctx); err != nil {
		return err
	}
	if c.enforcer != "" {
		// Also when it never becomes ready, what it says about that is wanted.
		defer func() { err = errors.Join(err, l.collectEvidence(context.WithoutCancel(ctx))) }()
		if err := l.installEnforcer(ctx); err != nil {
			return err
		}
	}
	if err := l.runSuite(ctx); err != nil {
		return err
	}
	return l.summarize()
}

// lab is a cluster with the enforcer on it, if there is to be one.
type lab struct {
	config
	*cluster.Cluster
	out io.Writer
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.out, format+"\n", args...) }

func (l *lab) file(name string) string { return filepath.Join(l.output, name) }
