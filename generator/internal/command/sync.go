// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
)

func sync() *cobra.Command {
	var (
		r          repository
		name       string
		kubeconfig string
		output     string
		dry        bool
	)
	cmd := &cobra.Command{
		Use:   "sync --repo PATH_OR_URL --cluster NAME [--kubeconfig F]",
		Short: "Apply what is approved in Git, prune, and report drift",
		Long: `Builds the kustomization of each clusters/<cluster>/<namespace> on --base and applies it to the
cluster: server-side, as field manager "bulkhead", labelled bulkhead.dev/managed-by=gitops and annotated with the
commit that approved it. Policies with that label that are no longer approved are deleted.

Only valid NetworkPolicies of the directory's own namespace are applied; with anything else in the
build nothing of that namespace is. Kustomizations can use files of their directory and nothing else:
no remote bases, plugins or charts. The baseline that onboarding keeps is left to it.

Drift is what differed from the commit it was applied from before this sync set it right.`,
		Example: `  bulkhead sync --repo ../policies.git --cluster prod --kubeconfig ~/.kube/config
  bulkhead sync --repo ../policies.git --cluster prod --kubeconfig ~/.kube/config --dry-run -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := errors.Join(need(cmd, "repo", "cluster"), oneOf("output", output, "table", "json")); err != nil {
				return err
			}
			repository, err := r.open(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, repository.Close()) }()
			client, err := connect(kubeconfig)
			if err != nil {
				return err
			}
			results, err := apply.SyncAll(cmd.Context(), client, repository, name, dry)
			if len(results) == 0 {
				return err
			}
			if output == "json" {
				return errors.Join(err, printJSON(cmd.OutOrStdout(), results))
			}
			return errors.Join(err, printSync(cmd.OutOrStdout(), results))
		},
	}
	r.flags(cmd.Flags())
	cmd.Flags().StringVar(&name, "cluster", "", "name of the cluster in the repository")
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "cluster to apply to (empty: the one that this runs in)")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "report what would be done, and change nothing")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printSync(out io.Writer, results []apply.Result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAMESPACE\tAPPLIED\tUNCHANGED\tPRUNED\tDRIFT\tCOMMIT\tNOTE")
	for _, r := range results {
		note := r.Skipped
		if r.Error != "" {
			note = "failed"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.12s\t%s\n", r.Namespace, len(r.Applied), len(r.Unchanged), len(r.Pruned), len(r.Drift), r.Commit, note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, d := range r.Drift {
			by := ""
			if d.By != "" {
				by = " by " + strings.TrimSpace(printable(d.By))
			}
			fmt.Fprintf(out, "drift: %s %s%s: %s\n", d.Policy, d.What, by, printable(d.Detail))
		}
	}
	return nil
}
