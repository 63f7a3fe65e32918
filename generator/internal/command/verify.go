// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

func verify() *cobra.Command {
	var (
		from     source
		inv      cluster
		policies string
		output   string
		minFlows uint64
		service  string
		caches   []string
		words    []string
	)
	cmd := &cobra.Command{
		Use:   "verify (--flows F… | --hubble ADDR) [--inventory DIR | --kubeconfig F] --policies DIR",
		Short: "Prove policies against flows",
		Long: `Compiles the NetworkPolicies of a directory and judges them against what was observed:
  - every accepted connection is allowed: those that are seen often enough and not odd, and those that
    a plan.yaml in the directory accepts, without those that it rejects;
  - removing any rule, peer or port breaks an observed connection (the baseline aside);
  - what is allowed beyond what was seen is counted and listed;
  - other policies of the inventory, which allow more in these namespaces or deny a connection, are named.
The exit status is 1 when the first or the second does not hold. Policies written by hand
can be judged just as well.`,
		Example: `  bulkhead verify --flows flows.json --inventory dump --policies policies
  bulkhead verify --hubble localhost:4245 --kubeconfig ~/.kube/config --policies policies -o json | jq .excess`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dns, dnsErr := proposal.ParseDNS(service, caches)
			directions, directionsErr := parseDirections(words)
			if err := errors.Join(need(cmd, "policies"), oneOf("output", output, "text", "json"), from.check(), inv.check(&from), dnsErr, directionsErr); err != nil {
				return err
			}
			report, err := judge(cmd, &from, &inv, policies, minFlows, dns, directions)
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				printReport(cmd.OutOrStdout(), report)
			}
			if err == nil && !report.Proven {
				err = fmt.Errorf("not proven: %d connections not allowed, %d parts of policies not needed", len(report.Broken), len(report.Surplus))
			}
			return err
		},
	}
	from.flags(cmd.Flags())
	inv.flags(cmd.Flags())
	cmd.Flags().StringVar(&policies, "policies", "", "file, directory or kustomization with NetworkPolicies, or - for standard input; other kinds in it are ignored")
	minFlowsFlag(cmd.Flags(), &minFlows)
	dnsFlags(cmd.Flags(), &service, &caches)
	directionsFlag(cmd.Flags(), &words)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func judge(cmd *cobra.Command, from *source, in *cluster, dir string, minFlows uint64, dns proposal.DNS, directions baseline.Directions) (*proof.Report, error) {
	set, err := manifest.Load([]string{dir}, cmd.InOrStdin(), manifest.Strict)
	if err != nil {
		return nil, fmt.Errorf("--policies %s: %w", dir, err)
	}
	for _, w := range set.Warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "--policies %s: %s\n", dir, w)
	}
	if n := len(set.Netpol().ClusterPolicies); n > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "--policies %s: %d ClusterNetworkPolicies are not judged: only NetworkPolicies can be proven\n", dir, n)
	}
	all, err := proof.Policies(set.Runtime())
	if err != nil {
		return nil, fmt.Errorf("--policies %s: %w", dir, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--policies %s: no NetworkPolicy in it", dir)
	}
	policies := proof.Sides(all, directions)
	if len(policies) == 0 {
		return nil, fmt.Errorf("--policies %s: none of %d NetworkPolicies is about --directions %s", dir, len(all), strings.Join(directions.Words(), ","))
	}
	inv, err := in.inventory(cmd.Context())
	if err != nil {
		return nil, err
	}
	fold, stats, err := from.read(cmd, inv)
	complain(cmd.ErrOrStderr(), stats)
	if err != nil {
		return nil, err
	}
	tellLearned(cmd.ErrOrStderr(), inv.Learned())
	criteria := evidence.DefaultCriteria()
	criteria.MinFlows = minFlows
	found := evidence.Sort(fold.Drain(), inv, criteria, proof.Namespaces(policies)...)
	plans, err := readPlans(dir)
	if err != nil {
		return nil, fmt.Errorf("--policies %s: %w", dir, err)
	}
	connections, err := found.Agreed(proof.Namespaces(policies), plans)
	if err != nil {
		return nil, err
	}
	governed := governedIn(inv, policies, directions)
	sample, targets := inv.Sample(), dns.Targets(inv)
	report, err := proof.ProveIn(governed, policies, connections, sample, targets)
	if err != nil {
		return nil, err
	}
	return report, report.Meet(inv, all, policies, connections, sample, targets)
}

// governedIn are the directions of each namespace: those that were asked for; or those of the default-deny that Bulkhead
// keeps there, if the policies have none. Namespaces that neither speaks of are not in it.
func governedIn(inv *inventory.Inventory, policies []*networkingv1.NetworkPolicy, asked baseline.Directions) map[string]baseline.Directions {
	governed := map[string]baseline.Directions{}
	for _, name := range proof.Namespaces(policies) {
		own := slices.DeleteFunc(slices.Clone(policies), func(p *networkingv1.NetworkPolicy) bool { return p.Namespace != name })
		kept := baseline.Governed(inv.Managed(name))
		switch {
		case asked != (baseline.Directions{}):
			governed[name] = asked
		case kept != (baseline.Directions{}) && baseline.Governed(own) == (baseline.Directions{}):
			governed[name] = kept
		}
	}
	return governed
}

// readPlans finds the plans in a directory and below it; each is of the namespace that its own directory is named after.
func readPlans(dir string) (map[string]*plan.Plan, error) {
	plans := map[string]*plan.Plan{}
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return plans, filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != plan.File {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		namespace := filepath.Base(filepath.Dir(file))
		if plans[namespace], err = plan.Parse(content); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	})
}

func printReport(out io.Writer, r *proof.Report) {
	fmt.Fprintf(out, "%d policies, %d connections\n", r.Policies, r.Connections)
	ungoverned(out, "", r)
	foreign(out, "", "in the cluster and not among these", r)
	for _, b := range r.Broken {
		fmt.Fprintf(out, "not allowed: %s (%s)\n", printable(b.Connection), b.Reason)
	}
	for _, s := range r.Surplus {
		fmt.Fprintf(out, "not needed: %s\n", s)
	}
	for _, s := range r.Shadowed {
		fmt.Fprintf(out, "shadowed: %s, by %s\n", s.Rule, strings.Join(s.By, ", "))
	}
	for _, p := range r.SelectsNothing {
		fmt.Fprintf(out, "selects no pod: %s\n", p)
	}
	for _, s := range r.Strays {
		fmt.Fprintf(out, "left out: %s\n", printable(s))
	}
	printExcess(out, &r.Excess)
	if r.Proven {
		fmt.Fprintln(out, "proven: every connection is allowed, and nothing can be taken away")
	}
}

func printExcess(out io.Writer, x *proof.Excess) {
	for _, o := range x.Open {
		fmt.Fprintf(out, "open: no policy isolates %s, %s\n", printable(o.Workload), o.Direction)
	}
	for _, r := range x.Ranges {
		fmt.Fprintf(out, "wide: %s allows %s, %d addresses seen\n", r.Rule, r.Range, r.Seen)
	}
	for _, f := range x.Future {
		fmt.Fprintf(out, "wide: %s matches %s, even if no workload has them today\n", f.Rule, f.Pods)
	}
	for _, u := range x.Pairs {
		fmt.Fprintf(out, "unseen: %s → %s %s/%s\n", u.From, u.To, u.Protocol, u.Ports)
	}
	fmt.Fprintf(out, "allowed beyond what was seen: %d\n", x.Count)
}
