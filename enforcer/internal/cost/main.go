// SPDX-License-Identifier: Apache-2.0

// Command cost measures what the datapath costs: traffic between two pods with it and without it, a packet in
// clusters of growing size, and whether every connection of many is accounted for.
package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
)

func main() { program.Main(command()) }

func command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Measure what the enforcer's datapath costs",
		Long: `Measure what the enforcer's datapath costs. It needs root.

All of it happens in network namespaces of its own; nothing of the machine's network is used or changed. The
threads that measure have the highest priority (nice -20), because ratios get wide on a machine that is busy.
Every command prints a Markdown table, and while it measures says on stderr how far it is.`,
		SilenceUsage: true, SilenceErrors: true,
	}
	cmd.AddCommand(trafficCommand(), packetsCommand(), accountingCommand())
	return cmd
}

func trafficCommand() *cobra.Command {
	var c trafficConfig
	cmd := &cobra.Command{
		Use:   "traffic",
		Short: "Compare traffic between two pods with the datapath attached and without",
		Long: `Compare traffic between two pods with the datapath attached and without.

There are two nodes, alike but that the datapath is attached to the pods of one. It has the world of a cluster of
--pods and --policies; both pods are isolated in both directions by all policies, and the last rule lets them talk.
Flows are drained every second. A round measures one node for --slice and then the other; who is first alternates.
After half of the rounds the nodes change roles, so that what differs between them by chance cancels out.

A ratio is what comes through with the datapath, divided by what does without, in the same round. The table has
the median of the rounds, the 95 % confidence interval of that median (by order statistics), and the median rates.

  one core     client and server share core 1: the whole cost is seen, nothing is hidden by waiting
  two cores    the client has core 1, the server core 0; each wakes the other up
  TCP_RR       one byte there and one back on an open connection, over and over; of 1 or 16 connections
  TCP_CRR      connect, one byte there and one back, close
  stream       TCP, as fast as it goes, in packets of up to 64 KiB (segmentation offload, as veth has it) or of the
               MTU of 1500
  UDP          datagrams of 64 bytes, in bursts of 64 that are read before the next`,
		Example: `  bin/cost traffic
  bin/cost traffic --rounds 10 --families IPv4
  bin/cost traffic --null   # the datapath is on neither node: how far from 100 % chance alone gets`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return inNamespaces(func() error { return measureTraffic(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.rounds, "rounds", 40, "rounds of each measurement, an even number")
	f.DurationVar(&c.slice, "slice", 250*time.Millisecond, "how long a node is measured in a round")
	f.StringSliceVar(&c.families, "families", []string{"IPv4", "IPv6"}, "of these address families")
	f.StringVar(&c.only, "only", "", "only measurements whose name contains this")
	f.IntVar(&c.pods, "pods", 1000, "pods of the cluster")
	f.IntVar(&c.policies, "policies", 100, "policies of the cluster")
	f.BoolVar(&c.null, "null", false, "attach the datapath to neither node")
	return cmd
}

func packetsCommand() *cobra.Command {
	var c packetsConfig
	cmd := &cobra.Command{
		Use:   "packets",
		Short: "Measure the cost of a packet, of a change and of the maps in clusters of growing size",
		Long: `Measure the cost of a packet, of a change and of the maps in clusters of growing size.

Clusters are objects that go the whole way: compiled, planned for a node with 110 pods, loaded. All policies govern
the pod that packets are judged for, in both directions; each has one rule a direction, and the last one decides. The
programs run on crafted packets, as the kernel's test runs time them: --repetitions times 20,000 runs each, of
which the table has the median. The columns, in nanoseconds a packet:

  established   of an open connection
  new           the first of a connection that is allowed; it is judged, remembered and recorded
  denied        the first of a connection that is denied
  forwarded     of an open connection, once more when the node forwards it (netfilter's FORWARD)
  cold          like new, each with another pod, from another port, and run alone: after a system call, with caches
                that are not warm, and with the clock's own cost
  new kind      like cold, and the first of its kind (pod, peer, port, verdict) since flows were drained: the record
                of the kind is made
  out, in       what the pod sends (TCX ingress) and what it receives (TCX egress)

Of a cluster there are also the times to plan and load everything, one changed policy and one changed pod, and
the memory of the datapath's maps, as the kernel counts it (memlock of fdinfo).`,
		Example: `  bin/cost packets
  bin/cost packets --pods 10,1000 --policies 1,1000 --repetitions 5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return inNamespaces(func() error { return measurePackets(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr()) })
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&c.pods, "pods", []int{10, 1000, 10_000, 100_000}, "sizes of clusters")
	f.IntSliceVar(&c.policies, "policies", []int{1, 100, 1000}, "numbers of policies")
	f.IntVar(&c.repetitions, "repetitions", 15, "of each measurement")
	return cmd
}

func accountingCommand() *cobra.Command {
	var seconds int
	cmd := &cobra.Command{
		Use:   "accounting",
		Short: "Check that every one of many new connections is recorded or counted as lost",
		Long: `Check that every one of many new connections is recorded or counted as lost.

Every core opens connections as fast as the kernel's test runs go, while flows are drained every second. Between
two drains there is room for 16,384 kinds of flow: first all connections are of few kinds, then of more than fit.

Exit status 1: the sum of recorded and lost connections is not that of the opened ones, or there were fewer than
100,000 a second.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seconds < 1 || seconds > 3600 {
				return fmt.Errorf("--seconds: %d is not between 1 and 3600", seconds)
			}
			return inNamespaces(func() error {
				return measureAccounting(cmd.Context(), time.Duration(seconds)*time.Second, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().IntVar(&seconds, "seconds", 10, "of each kind")
	return cmd
}

// say prints progress.
func say(progress io.Writer, format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) }
