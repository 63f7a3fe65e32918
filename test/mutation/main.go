// SPDX-License-Identifier: Apache-2.0

// Mutation makes small changes to the policy engine, one at a time, and says which of them the corpus
// does not notice.
package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
)

func main() { program.Main(command()) }

func command() *cobra.Command {
	var c config
	var list string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "mutation",
		Short: "Say which small changes of the policy engine the corpus does not notice",
		Long: `Say which small changes (mutants) of a package its corpus does not notice.

The package is rewritten so that it holds all mutants at once, built once, and judged with one mutant
active at a time: a comparison flipped, an operand of && or || dropped, a condition always true or
false, a statement left out, a loop that sees nothing or one element, a number one off, a sort turned
round. Only functions that decide are mutated: those that the judge's calls lead to.

A mutant that no verdict and no fault can show is listed, with the reason, in --equivalent. With --tests
the rest of the package is mutated, too, and the package's own tests, the random ones among them, are
asked about all that lives. That takes some minutes.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(cmd.Context(), c, list, verbose, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&c.target, "package", "./policies/netpol", "package to mutate")
	flags.StringVar(&c.judge, "judge", "./test/mutation/judge", "main package that holds it to its corpus")
	flags.StringSliceVar(&c.args, "judge-args", []string{"policies/netpol/testdata/corpus"}, "arguments of the judge, with commas between them")
	flags.StringVar(&list, "equivalent", "test/mutation/equivalent.txt", "list of the mutants that nothing can observe")
	flags.BoolVar(&c.tests, "tests", false, "mutate the whole package, and ask its own tests about what lives")
	flags.BoolVarP(&verbose, "verbose", "v", false, "show the mutants that are killed, too")
	return cmd
}

// show prints the table of a run. The error says what must be mended.
func show(ctx context.Context, c config, list string, verbose bool, out io.Writer) error {
	start := time.Now()
	var err error
	if c.known, err = readEquivalent(list); err != nil {
		return err
	}
	r, err := run(ctx, c)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	killed, functions := 0, make(map[string]bool)
	for _, v := range r.verdicts {
		functions[v.Func] = true
		if v.held() {
			killed++
		}
		if verbose || !v.held() && c.known[v.Key()] == "" {
			fmt.Fprintf(table, "%s\t%s:%d\t%s\n", v.outcome(c.known), v.File, v.Line, v.Key())
		}
	}
	_ = table.Flush() // an error stays with out
	fmt.Fprintf(out, "%d functions, %d mutants: %d killed, %d live; %.0f s\n",
		len(functions), len(r.verdicts), killed, len(r.verdicts)-killed, time.Since(start).Seconds())
	if problems := c.known.compare(r); len(problems) > 0 {
		return fmt.Errorf("%d problems, of which the first is: %w", len(problems), problems[0])
	}
	return nil
}

// outcome is what became of the mutant, in a word or two.
func (v *verdict) outcome(known equivalent) string {
	switch {
	case v.held():
		return "killed by " + v.by
	case known[v.Key()] != "":
		return "equivalent"
	case v.by != "":
		return "GAP (only " + v.by + ")"
	case !v.reached:
		return "GAP (not reached)"
	}
	return "GAP"
}
