// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/page"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

func report() *cobra.Command {
	var (
		w             writing
		out, policies string
	)
	cmd := &cobra.Command{
		Use:   "report (--flows F… | --hubble ADDR) [--inventory DIR | --kubeconfig F] --out DIR",
		Short: "Write an HTML page for each namespace: what was seen, what was not, and what to decide",
		Long: `Writes <namespace>.html and index.html to --out. A page says whether the namespace is ready to be
enforced, what a person has to decide, with the lines for plan.yaml, who connects to whom and which
rule allows it, how much is still unseen, what was denied, and what is allowed beyond what was seen.

Pages are of what generate would write. They need nothing beside them, and no network: they can be
sent by mail. Other files of the directory stay.`,
		Example: `  bulkhead report --flows flows.json --inventory dump --cluster prod --out report && open report/index.html
  bulkhead report --flows flows.json --inventory dump --cluster prod --out report --policies policies -n shop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "cluster", "out"); err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return fmt.Errorf("--out %s: %w", out, err)
			}
			if err := writable("out", out); err != nil {
				return err
			}
			p, stats, err := w.make(cmd, existing(policies, w.name), nil)
			complain(cmd.ErrOrStderr(), stats)
			if err != nil {
				return err
			}
			files, err := page.Pages(p, &stats)
			if err != nil {
				return err
			}
			return errors.Join(append(p.Failed, writePages(cmd, p, files, out))...)
		},
	}
	w.flags(cmd.Flags(), soleCluster)
	cmd.Flags().StringVar(&out, "out", "", "directory to write to; created if it is missing")
	cmd.Flags().StringVar(&policies, "policies", "", "directory that generate wrote to, with the plans of namespaces and what was approved before (empty: there is none)")
	return cmd
}

// writePages writes the overview last: it leads to the others.
func writePages(cmd *cobra.Command, p *proposal.Proposal, files tree.Files, out string) error {
	for _, n := range p.Namespaces {
		ungoverned(cmd.ErrOrStderr(), n.Name+": ", n.Report)
		foreign(cmd.ErrOrStderr(), n.Name+": ", notInGit, n.Report)
		name := page.File(n.Name)
		if err := tree.WriteFile(filepath.Join(out, name), files[name], 0o644); err != nil {
			return fmt.Errorf("--out %s: %w", out, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", filepath.Join(out, name), printable(n.Readiness.Summary()))
	}
	index := filepath.Join(out, page.IndexFile)
	if err := tree.WriteFile(index, files[page.IndexFile], 0o644); err != nil {
		return fmt.Errorf("--out %s: %w", out, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: overview of %d namespaces\n", index, len(p.Namespaces))
	return nil
}
