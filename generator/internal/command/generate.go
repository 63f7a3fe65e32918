// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// writing is what generate and propose have in common: from flows to a proven proposal.
type writing struct {
	source     source
	inventory  cluster
	name       string
	namespaces []string
	dnsService string
	nodeLocal  []string
	dns        proposal.DNS // what the two say; filled by checkTarget
	criteria   evidence.Criteria
	maxLoss    float64 // in percent
	thresholds readiness.Thresholds
	widen      uint64
	directions []string
	governed   baseline.Directions // what it says; filled by checkTarget
	retire     bool
	retireAge  time.Duration
}

// flags takes the name that a cluster has unless another is given; empty: one must be given.
func (w *writing) flags(f *pflag.FlagSet, cluster string) {
	f.BoolVar(&w.retire, "retire", false, "take away what was not seen for --retire-after, and change nothing else")
	w.source.flags(f)
	w.inventory.flags(f)
	w.target(f, cluster)
}

func (w *writing) target(f *pflag.FlagSet, cluster string) {
	f.StringVar(&w.name, "cluster", cluster, "name of the cluster in the repository")
	f.StringSliceVarP(&w.namespaces, "namespace", "n", nil, "namespace to write policies for; may be repeated (empty: all that were seen, but the system's)")
	w.criteria = evidence.DefaultCriteria()
	minFlowsFlag(f, &w.criteria.MinFlows)
	f.Float64Var(&w.maxLoss, "max-loss", defaultMaxLoss, "refuse when more than this percentage of all flows is missing, or ten times as much of one node's")
	f.DurationVar(&w.retireAge, "retire-after", 90*24*time.Hour, "call an approved connection unused when it was not seen for so long")
	w.thresholds = readiness.DefaultThresholds()
	f.IntVar(&w.thresholds.Days, "ready-days", w.thresholds.Days, "call a namespace ready only when it was observed on so many days")
	f.Uint64Var(&w.widen, "widen", 0, "addresses that were not seen and that one rule may allow, so that it lists fewer blocks")
	dnsFlags(f, &w.dnsService, &w.nodeLocal)
	directionsFlag(f, &w.directions)
}

// directionsFlag is the same wherever policies are written or judged.
func directionsFlag(f *pflag.FlagSet, words *[]string) {
	f.StringSliceVar(words, "directions", nil, "ingress, egress or both, separated by a comma: only these are isolated, proven and spoken of (empty: in each namespace those of its default-deny, in Git or kept by Bulkhead in the cluster; both where it has none)")
}

func parseDirections(words []string) (baseline.Directions, error) {
	d, err := baseline.ParseDirections(words)
	if err != nil {
		return d, fmt.Errorf("--directions: %w", err)
	}
	return d, nil
}

// dnsFlags are the same wherever the baseline is written or told from other policies.
func dnsFlags(f *pflag.FlagSet, service *string, nodeLocal *[]string) {
	f.StringVar(service, "dns-service", "", "namespace/name of the cluster's DNS Service (empty, or it is not there: detected)")
	f.StringSliceVar(nodeLocal, "dns-node-local", nil, "addresses of node-local DNS caches, e.g. 169.254.20.10; separated by commas (empty: detected)")
}

const (
	defaultMaxLoss = 1 // percent
	// soleCluster is the name of a cluster that is not one of several.
	soleCluster = "default"
)

// minFlowsFlag is the same wherever connections are learned.
func minFlowsFlag(f *pflag.FlagSet, n *uint64) {
	f.Uint64Var(n, "min-flows", evidence.DefaultCriteria().MinFlows, "learn by itself only what was seen in so many flows, of both sides together, and not on one occasion alone (1: all that was seen)")
}

// checkTarget finds what is wrong with the flags of target.
func (w *writing) checkTarget() error {
	if err := tree.ValidCluster(w.name); err != nil {
		return err
	}
	for _, n := range w.namespaces {
		if problems := validation.IsDNS1123Label(n); len(problems) > 0 {
			return fmt.Errorf("--namespace %q: %s", n, problems[0])
		}
	}
	if w.retireAge <= 0 {
		return fmt.Errorf("--retire-after %s: give a time above zero, e.g. 2160h", w.retireAge)
	}
	if w.maxLoss < 0 || w.maxLoss > 100 {
		return fmt.Errorf("--max-loss %g: give a percentage from 0 to 100", w.maxLoss)
	}
	var err error
	if w.governed, err = parseDirections(w.directions); err != nil {
		return err
	}
	w.dns, err = proposal.ParseDNS(w.dnsService, w.nodeLocal)
	return err
}

// check finds what is wrong with the flags before anything is read.
func (w *writing) check() error {
	if err := w.checkTarget(); err != nil {
		return err
	}
	return errors.Join(w.source.check(), w.inventory.check(&w.source))
}

// input is what a proposal is made of, but for what was observed and where.
func (w *writing) input(existing func(namespace string) (tree.Files, error)) proposal.Input {
	return proposal.Input{
		Cluster: w.name, Namespaces: w.namespaces, DNS: w.dns, Directions: w.governed,
		MaxLoss: w.maxLoss / 100, Criteria: w.criteria, Thresholds: w.thresholds, Widen: w.widen, Retire: w.retire, RetireAfter: w.retireAge, Existing: existing,
	}
}

// make reads and proves; the flags were checked. existing are the files that a namespace has; take is
// proposal.Input's.
func (w *writing) make(cmd *cobra.Command, existing func(namespace string) (tree.Files, error), take func(*proposal.Namespace) error) (*proposal.Proposal, flows.Stats, error) {
	inv, err := w.inventory.inventory(cmd.Context())
	if err != nil {
		return nil, flows.Stats{}, err
	}
	fold, stats, err := w.source.read(cmd, inv)
	if err != nil {
		return nil, stats, err
	}
	tellLearned(cmd.ErrOrStderr(), inv.Learned())
	in := w.input(existing)
	in.Take = take
	in.Edges, in.Inventory, in.Loss = fold.Drain(), inv, w.source.loss(&stats)
	p, err := proposal.Make(in)
	if err != nil {
		return nil, stats, err
	}
	if len(p.Missing) > 0 {
		return nil, stats, fmt.Errorf("--namespace %s: the inventory has no such namespace, and nothing in it", strings.Join(p.Missing, ", "))
	}
	if len(p.Names) == 0 && len(p.Failed) > 0 {
		return nil, stats, errors.Join(p.Failed...)
	}
	if len(p.Names) == 0 {
		err = fmt.Errorf("nothing to write: no connection was learned in a namespace that policies are written for, and default-deny alone would isolate its pods (%d flows read, %d edges not learned; see bulkhead edges)", stats.Flows, len(p.Elsewhere))
	}
	return p, stats, err
}

// notices says on standard error what was assumed, and what was left out.
func notices(errOut io.Writer, p *proposal.Proposal) {
	if p.AssumedDNS != "" {
		fmt.Fprintf(errOut, "no DNS found, the baseline allows pods k8s-app=kube-dns in kube-system on port 53: %s\n", printable(p.AssumedDNS))
	}
	for _, n := range p.Silent {
		fmt.Fprintf(errOut, "%s: left out, because no connection was learned: default-deny alone would isolate all of its pods\n", n.Name)
	}
	for _, n := range p.Namespaces {
		notice(errOut, n)
	}
}

func notice(errOut io.Writer, n *proposal.Namespace) {
	ungoverned(errOut, n.Name+": ", n.Report)
	foreign(errOut, n.Name+": ", notInGit, n.Report)
	fmt.Fprintf(errOut, "%s: %s\n", n.Name, printable(n.Readiness.Summary()))
	if silent := n.Readiness.Silent(); len(silent) > 0 {
		fmt.Fprintf(errOut, "%s: no connection was learned of %s: once enforced, the baseline isolates what was silent\n", n.Name, printable(wording.Some(silent)))
	}
	if len(n.Aged) > 0 {
		fmt.Fprintf(errOut, "%s: %d approved connections were not seen for long and stay allowed; --retire proposes to remove them\n", n.Name, len(n.Aged))
	}
	for _, u := range n.Unused {
		fmt.Fprintf(errOut, "%s: %s speaks of no connection: %s\n", n.Name, plan.File, printable(u))
	}
}

// ungoverned says which directions stay as they are.
func ungoverned(out io.Writer, prefix string, r *proof.Report) {
	for _, u := range r.Ungoverned {
		fmt.Fprintf(out, "%s%s is not governed: it stays open where no other policy isolates\n", prefix, printable(u.String()))
	}
}

const notInGit = "in the cluster and not in Git"

// foreign names the policies that the cluster has beside those that were judged, and what they make impossible. where says
// so of one.
func foreign(out io.Writer, prefix, where string, r *proof.Report) {
	for _, f := range r.Foreign {
		fmt.Fprintf(out, "%s%s is %s; it %s\n", prefix, printable(f.Policy), where, strings.Join(f.Words(printable), "; "))
	}
	if r.ForeignOmitted > 0 {
		fmt.Fprintf(out, "%s%d more policies are %s; they were not judged\n", prefix, r.ForeignOmitted, where)
	}
	for _, b := range r.Blocked {
		fmt.Fprintf(out, "%simpossible today: %s; %s\n", prefix, printable(b.Connection), b.Words(printable))
	}
	if r.BlockedOmitted > 0 {
		fmt.Fprintf(out, "%s%d more connections are impossible today\n", prefix, r.BlockedOmitted)
	}
}

// reproduce is the command that writes the same policies again.
func (w *writing) reproduce(namespace string) string {
	words := append([]string{"bulkhead", "generate"}, w.source.words()...)
	words = append(words, w.inventory.words()...)
	words = append(words, w.dns.Words()...)
	words = append(words, w.criteriaWords()...)
	words = append(words, "--cluster", quote(w.name), "--namespace", quote(namespace), "--out", "policies")
	return strings.Join(words, " ")
}

// criteriaWords are the flags that differ from their defaults.
func (w *writing) criteriaWords() []string {
	var out []string
	if w.criteria.MinFlows != evidence.DefaultCriteria().MinFlows {
		out = append(out, "--min-flows", fmt.Sprint(w.criteria.MinFlows))
	}
	if w.maxLoss != defaultMaxLoss {
		out = append(out, "--max-loss", fmt.Sprint(w.maxLoss))
	}
	if w.governed != (baseline.Directions{}) {
		out = append(out, "--directions", strings.Join(w.governed.Words(), ","))
	}
	if w.retire {
		out = append(out, "--retire", "--retire-after", w.retireAge.String())
	}
	if w.widen != 0 {
		out = append(out, "--widen", fmt.Sprint(w.widen))
	}
	return out
}

func generate() *cobra.Command {
	var (
		w   writing
		out string
	)
	cmd := &cobra.Command{
		Use:   "generate (--flows F… | --hubble ADDR) [--inventory DIR | --kubeconfig F] --out DIR",
		Short: "Write proven policies to a directory",
		Long: `Writes clusters/<cluster>/<namespace>/ below --out: one policy for each workload, the baseline
(default-deny and DNS), a kustomization, and evidence.json.

Nothing is written unless it is proven: every accepted connection is allowed, and removing any
rule, peer or port breaks one. Denied flows, flows of unknown direction, and flows of workloads
that are not in the inventory are listed in evidence.json and never learned. The same flows give
the same bytes. What a person wrote into the files of the directory stays, to the byte.

Policies that the cluster has and Git has not change nothing of what is written. They are named, with
what they open beyond it: it restricts nothing there until they are removed.

Without --inventory and --kubeconfig the workloads, and the labels of their pods, are learned from the flows. These do not tell of
workloads that were silent, when CronJobs run, what Services publish, or what ports are called.`,
		Example: `  kubectl get ns,svc,deploy,rs,sts,ds,job,cj,pod,node,netpol -A -o yaml > dump/all.yaml
  hubble observe -o json --since 24h > flows.json
  bulkhead generate --flows flows.json --out policies
  bulkhead generate --flows flows.json --inventory dump --cluster prod --out policies
  bulkhead generate --hubble localhost:4245 --kubeconfig ~/.kube/config --cluster prod --out policies -n shop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := need(cmd, "cluster", "out"); err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			to := writer{cluster: w.name, out: out}
			defer func() { err = errors.Join(err, to.close()) }()
			p, stats, err := w.make(cmd, existing(out, w.name), to.take)
			complain(cmd.ErrOrStderr(), stats)
			if err != nil {
				return err
			}
			return errors.Join(append(p.Failed, to.commit(cmd, p))...)
		},
	}
	w.flags(cmd.Flags(), soleCluster)
	cmd.Flags().StringVar(&out, "out", "", "directory to write to; created if it is missing")
	return cmd
}

// existing reads a namespace's files below a directory; nil when there is no directory.
func existing(root, cluster string) func(namespace string) (tree.Files, error) {
	if root == "" {
		return nil
	}
	return func(namespace string) (tree.Files, error) {
		return tree.ReadDir(filepath.Join(root, filepath.FromSlash(tree.Dir(cluster, namespace))))
	}
}
