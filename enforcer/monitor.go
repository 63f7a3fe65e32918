// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/monitor"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

func monitorCommand() *cobra.Command {
	var addr, format string
	var q monitor.Question
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Show the verdicts of this node as they are given",
		Long: `Asks the agent of this machine for its verdicts, and prints them until it is interrupted. One line stands for
all connections of a kind in an interval (the agent's --flow-interval); COUNT says how many, and for denied
ones how many packets were dropped. A line also says when records were lost. The agent answers this machine only.`,
		Example: `  bulkhead-enforcer monitor --verdict denied
  bulkhead-enforcer monitor --pod shop/api -o table
  bulkhead-enforcer monitor --from shop/web --to 203.0.113.0/24 --port 443 --protocol tcp -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := q.Request()
			if err != nil {
				return err
			}
			printer, err := monitor.NewPrinter(cmd.OutOrStdout(), format, wording.Colourful(cmd.OutOrStdout()))
			if err != nil {
				return err
			}
			return monitor.Watch(cmd.Context(), addr, request, printer.Print)
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Pod, "pod", "", "NAMESPACE/NAME of a pod of either side; NAME may be the beginning of a name")
	f.StringVar(&q.Namespace, "namespace", "", "namespace of either side")
	f.StringVar(&q.From, "from", "", "who connects: NAMESPACE/NAME, NAMESPACE/, an address or a CIDR")
	f.StringVar(&q.To, "to", "", "to whom: the same")
	f.StringVar(&q.Verdict, "verdict", "", "allowed, denied or audit (would be denied)")
	f.Uint16Var(&q.Port, "port", 0, "port at the destination; 0: any")
	f.StringVar(&q.Protocol, "protocol", "", "TCP, UDP, SCTP or ICMP; empty: any")
	f.StringVarP(&format, "output", "o", "compact", "compact, table or json (as `hubble observe -o json` prints it)")
	f.StringVar(&addr, "http-addr", defaultHTTPAddr, "the agent's --http-addr")
	return cmd
}
