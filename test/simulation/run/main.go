// SPDX-License-Identifier: Apache-2.0

// Command simulation writes what an application's connections would be reported as, with the inventory of its cluster
// and the truth.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	app, folder, out string
	judge            string
	hours            float64
	options          simulation.Options
	form             simulation.Form
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "simulation --app NAME --out DIR",
		Short: "Simulate an application's connections, as an observer reports them",
		Long: `Simulates an application's connections, packet by packet, as Hubble would report them. Below --out:

  flows.jsonl   what hubble observe -o json would print
  inventory/    the cluster's objects at the end, as kubectl get -o yaml would print them
  truth.json    who talked to whom, and who might have

The same flags give the same bytes. Applications: ` + strings.Join(simulation.Names(), ", ") + `.`,
		Example: `  go run ./test/simulation/run --app boutique --out /tmp/boutique
  go run ./test/simulation/run --app queue --loss 0.3 --no-handshakes --out /tmp/lossy
  bin/bulkhead generate --flows /tmp/boutique/flows.jsonl --inventory /tmp/boutique/inventory --cluster test --out /tmp/policies`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(c, cmd.OutOrStdout()) },
	}
	f, o := cmd.Flags(), &c.options
	f.StringVar(&c.app, "app", "", "application that is built in")
	f.StringVar(&c.folder, "folder", "", "folder with an application of your own instead: manifests and truth.yaml")
	f.StringVar(&c.out, "out", "", "folder to write to; it is created")
	f.StringVar(&c.judge, "judge", "", "folder with policies to hold to the truth instead of writing anything; the other flags are those of the simulation")
	f.Float64Var(&c.hours, "hours", 26, "simulated time")
	f.Uint64Var(&o.Seed, "seed", 1, "of all that is random")
	f.IntVar(&o.Nodes, "nodes", 3, "nodes that run pods")
	f.IntVar(&o.Rollouts, "rollouts", 1, "of each workload")
	f.Float64Var(&o.Rate, "rate", 1, "multiplies how often each connection is opened")
	f.Uint16Var(&o.DNSPort, "dns-port", 53, "at which the DNS pods listen")
	f.BoolVar(&o.IPv6, "ipv6", false, "a cluster of IPv6 instead of IPv4")
	f.BoolVar(&o.KubeProxy, "kube-proxy", false, "Services are translated in the nodes' network stack, not at the socket")
	f.BoolVar(&o.PacketLB, "packet-lb", false, "Services are translated where packets leave pods, not at the socket")
	f.BoolVar(&o.Tunnel, "tunnel", false, "nodes talk to pods of others from addresses of their pods' ranges")
	f.Float64Var(&o.Mistracked, "mistracked", 0, "part of the TCP connections, of 1, whose late answers are taken for connections")
	f.BoolVar(&o.AllPoints, "all-points", false, "also what is observed as it leaves pods, without a direction")
	f.IntVar(&o.Noise.Denied, "denied", 0, "attempts that a policy refused")
	f.IntVar(&o.Noise.Scans, "scans", 0, "port scans that nothing stopped")
	f.IntVar(&o.Noise.ICMP, "icmp", 0, "pings")
	f.IntVar(&o.Noise.Strays, "strays", 0, "connections by hand, each once, to a port that is open")
	f.IntVar(&o.Noise.Strangers, "strangers", 0, "clients outside that come once")
	f.IntVar(&o.Noise.Hairpins, "hairpins", 0, "connections of each single pod to itself, through its Service")
	f.Float64Var(&o.Loss.Rate, "loss", 0, "part of the flows, of 1, that is lost without a report")
	f.BoolVar(&o.Loss.Handshakes, "no-handshakes", false, "no flow of a connection's opening is reported")
	f.BoolVar(&o.Loss.BusyNode, "busy-node", false, "one node loses 84 % of its flows, and reports it")
	f.Float64Var(&o.Duplicates, "duplicates", 0, "part of the flows, of 1, that is printed twice")
	f.DurationVar(&o.Disorder, "disorder", 0, "how late a flow may be printed")
	f.DurationVar(&o.Skew, "skew", 0, "how wrong a node's clock may be")
	f.BoolVar(&c.form.Bare, "bare", false, "print flows without their envelope")
	f.BoolVar(&c.form.NoWorkloads, "no-workloads", false, "leave out pods' owners")
	f.BoolVar(&c.form.NoPods, "no-pods", false, "print addresses, and nothing of who has them")
	f.BoolVar(&c.form.NoReply, "no-reply", false, "leave out which packets are replies")
	f.BoolVar(&c.form.NoPoints, "no-points", false, "leave out where flows were observed")
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func (c config) load() (*simulation.Application, error) {
	switch {
	case (c.out == "") == (c.judge == ""):
		return nil, errors.New("give --out DIR or --judge DIR")
	case (c.app == "") == (c.folder == ""):
		return nil, errors.New("give --app NAME or --folder DIR")
	case c.folder != "":
		return simulation.Load(filepath.Base(c.folder), os.DirFS(c.folder))
	}
	return simulation.Named(c.app)
}

func run(c config, out io.Writer) error {
	app, err := c.load()
	if err != nil {
		return err
	}
	c.options.Duration = time.Duration(c.hours * float64(time.Hour))
	trace, err := simulation.Run(app, c.options)
	if err != nil {
		return err
	}
	if c.judge != "" {
		return judge(trace, c.judge, out)
	}
	if err := trace.WriteInventory(filepath.Join(c.out, "inventory")); err != nil {
		return err
	}
	if err := writeFlows(trace, filepath.Join(c.out, "flows.jsonl"), c.form); err != nil {
		return err
	}
	if err := trace.WriteTruth(filepath.Join(c.out, "truth.json")); err != nil {
		return err
	}
	truth := trace.Truth()
	fmt.Fprintf(out, "%s: %d flows, %d true edges, %d more that nobody used\n", c.out, trace.Flows(), len(truth.Exercised), len(truth.Unexercised))
	return nil
}

func writeFlows(trace *simulation.Trace, file string, form simulation.Form) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return trace.WriteFlows(f, form)
}

// judge prints how the policies below a folder compare with the truth.
func judge(trace *simulation.Trace, dir string, out io.Writer) error {
	policies, err := simulation.ReadPolicies(dir)
	if err != nil {
		return err
	}
	r, err := trace.Measure(policies)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, r)
	for what, list := range map[string][]string{"true, and denied": r.Missing, "allowed, and not true": r.Excess, "without a policy": r.NoPolicy, "without DNS": r.NoDNS} {
		for _, each := range list {
			fmt.Fprintf(out, "%s: %s\n", what, each)
		}
	}
	return nil
}
