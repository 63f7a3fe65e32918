// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// print shows a line for each namespace and sink.
func (o *outcome) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s: %s\n", o.scenario.name, o.scenario.description)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "namespace\tpods\tstarts\tto\tdatagrams\tarrived\tearly\t(worst)\tlate\tdials\tfailed\trepeated\tarrived\tSYNs\tin: datagrams\tconnections\t")
	for _, t := range o.tallies {
		for i, s := range t.sinks {
			if i == 0 {
				fmt.Fprintf(table, "%s\t%d\t%d\t", t.namespace, len(t.pods), t.starts)
			} else {
				fmt.Fprint(table, "\t\t\t")
			}
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t", s.name, s.sent, s.arrived, s.early, s.worst, s.late,
				s.dials, s.failed, s.repeated, s.connections, s.openings)
			if i == 0 {
				fmt.Fprintf(table, "%d\t%d\t", t.incoming.Datagrams, t.incoming.Connections)
			} else {
				fmt.Fprint(table, "\t\t")
			}
			fmt.Fprintln(table)
		}
	}
	_ = table.Flush()
	fmt.Fprintf(out, "  %d probes were sent to addresses of new pods\n", o.probes)
	if len(o.resumed) > 0 {
		fmt.Fprintf(out, "  at most %s after the agent went on, all that may send was reached\n", o.back.Round(time.Millisecond))
	}
	for _, f := range o.findings {
		fmt.Fprintln(out, "  NOT AS IT MUST BE: "+f)
	}
	if len(o.findings) == 0 {
		return
	}
	for _, t := range o.tallies {
		for i, example := range t.examples {
			if i == 12 {
				fmt.Fprintf(out, "  and %d more of namespace %s\n", len(t.examples)-i, t.namespace)
				break
			}
			fmt.Fprintln(out, "  "+example)
		}
	}
}
