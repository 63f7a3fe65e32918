// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

func edges() *cobra.Command {
	var (
		from   source
		dir    string
		output string
	)
	cmd := &cobra.Command{
		Use:   "edges --flows FILE… | --hubble ADDR",
		Short: "Print who talked to whom, folded from flows",
		Long: `Folds flows into edges: source, destination, protocol and the destination pod's port, with the
verdict and how often it was seen. The order of flows, reading one twice, and splitting
them over several files make no difference.

Direction comes from connection state. A flow that does not say who opened its connection is an
edge with direction "unknown" and no port.`,
		Example: `  hubble observe -o json --since 1h | bulkhead edges --flows -
  bulkhead edges --flows monday.json.gz --flows tuesday.json.gz -o csv
  bulkhead edges --hubble localhost:4245 --last 10000 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(oneOf("output", output, "table", "json", "csv"), from.check()); err != nil {
				return err
			}
			inv := inventory.Learning()
			if from.state != "" { // which does not keep the labels of pods
				inv = inventory.New(nil)
			}
			if dir != "" {
				var err error
				if inv, err = inventory.FromDir(dir); err != nil {
					return err
				}
			}
			fold, stats, err := from.read(cmd, inv)
			if err != nil {
				return err
			}
			complain(cmd.ErrOrStderr(), stats)
			if stats.Flows == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "there were no flows")
			}
			return printEdges(cmd.OutOrStdout(), fold.Drain(), output)
		},
	}
	from.flags(cmd.Flags())
	cmd.Flags().StringVar(&dir, "inventory", "", "attribute flows by the manifests in this directory (empty: by what the flows say)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or csv")
	return cmd
}

// complain says on standard error what is missing from the evidence.
func complain(errOut io.Writer, s flows.Stats) {
	for _, p := range s.Problems {
		fmt.Fprintf(errOut, "skipped %s\n", p)
	}
	if s.Malformed > 0 || s.Lost > 0 {
		fmt.Fprintf(errOut, "%d flows read, %d malformed lines skipped, %d flows lost by the observer\n", s.Flows, s.Malformed, s.Lost)
	}
	if at := s.LostAt(); len(at) > 0 {
		fmt.Fprintf(errOut, "%.1f %% of the flows are lost, most of them (%d)%s\n", 100*s.LostPart(), at[0].Lost, place(at[0].Source))
	}
	if s.Misdated > 0 {
		fmt.Fprintf(errOut, "%d flows are dated more than a day from all others, as by a clock that jumps: their connections count, their times do not\n", s.Misdated)
	}
	if as := s.IgnoredAs; s.Ignored > 0 {
		fmt.Fprintf(errOut, "%d records say nothing about policies: %d of ICMP, %d of the application layer, %d traces of sockets, %d others\n",
			s.Ignored, as.ICMP, as.Application, as.Socket, as.Other)
	}
	if pairs := s.ICMP(); len(pairs) > 0 {
		fmt.Fprintf(errOut, "NetworkPolicy has no word for ICMP, so no policy is written for it; seen between %d pairs of ends, most between:\n", len(pairs))
		for _, p := range pairs[:min(len(pairs), 3)] {
			fmt.Fprintf(errOut, "  %s and %s, %d records\n", printable(p.From), printable(p.To), p.Records)
		}
	}
}

// place says where flows were lost, as far as it is known.
func place(s flows.Source) string {
	var text string
	if s.Node != "" {
		text += " on node " + printable(s.Node)
	}
	if s.Queue != "" {
		text += " in " + printable(s.Queue)
	}
	return text
}

func printEdges(out io.Writer, edges []edge.Edge, output string) error {
	switch output {
	case "json":
		return printJSON(out, edges)
	case "csv":
		w := csv.NewWriter(out)
		rows := [][]string{{"from", "to", "protocol", "port", "side", "verdict", "flows", "first", "last"}}
		for _, e := range edges {
			rows = append(rows, row(e))
		}
		return w.WriteAll(rows)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tTO\tPROTOCOL\tPORT\tSIDE\tVERDICT\tFLOWS\tFIRST\tLAST")
	for _, e := range edges {
		fmt.Fprintln(w, strings.Join(row(e), "\t"))
	}
	return w.Flush()
}

func row(e edge.Edge) []string {
	n, estimated := e.Flows.Value()
	count := strconv.FormatUint(n, 10)
	if estimated {
		count = "~" + count
	}
	side := string(e.Side)
	if e.Side == flows.SideUnknown {
		side = "unknown"
	}
	return []string{
		printable(e.From.String()), printable(e.To.String()), string(e.Protocol), strconv.Itoa(int(e.Port)), side, string(e.Verdict),
		count, e.First.Format(time.RFC3339), e.Last.Format(time.RFC3339),
	}
}

// printable keeps names from flows, which anybody may have sent, from steering a terminal or
// starting a formula in a spreadsheet.
func printable(s string) string {
	s = wording.Printable(s)
	if s != "" && strings.ContainsRune("=+-@", rune(s[0])) {
		s = "'" + s
	}
	return s
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
