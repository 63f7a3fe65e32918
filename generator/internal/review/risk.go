// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// What makes evidence thin or a connection odd.
const (
	manyPorts = 10 // between two workloads; more looks like a scan
)

// risks lists what a reviewer must not overlook, worst first.
func risks(c *Change) []string {
	n := c.Namespace
	var out []string
	if n.Learned != nil {
		out = append(out, "There was no inventory: which workloads there are, and what labels their pods have, is what the flows say, and was not compared with the cluster. Selectors are proven against the pods that were seen, and against no others. Workloads that were silent are not known: once enforced, the baseline isolates them.")
	}
	out = append(out, foreignRisks(c.Final)...)
	for _, u := range c.Final.Ungoverned {
		out = append(out, fmt.Sprintf("%s of %s is not governed: it stays open where no other policy isolates.", u.Direction, code(u.Namespace)))
	}
	for _, f := range c.Merged.Kept {
		out = append(out, fmt.Sprintf("%s is a person's; it stays as it is, and differs from what was generated.", code(f)))
	}
	for _, f := range c.Merged.Absent {
		out = append(out, fmt.Sprintf("%s was deleted by a person; it stays deleted.", code(f)))
	}
	if c.AssumedDNS != "" && n.Directions.Egress {
		out = append(out, fmt.Sprintf("No DNS was found, so the baseline allows pods k8s-app=kube-dns in kube-system on port 53: %s.", code(c.AssumedDNS)))
	}
	for _, w := range n.Shared {
		out = append(out, fmt.Sprintf("The policy of %s applies to %s, too: the labels of their pods do not differ.", code(w.Endpoint().String()), code(wording.Some(w.Also))))
	}
	out = append(out, proofRisks(c.Final)...)
	out = append(out, connectionRisks(n.Connections)...)
	for _, l := range n.Listed {
		if odd(l.Reason) {
			out = append(out, fmt.Sprintf("Not learned, %s: %s (%s).", l.Reason, code(l.Edge.Key.String()), code(l.Detail)))
		}
	}
	if silent := n.Readiness.Silent(); len(silent) > 0 {
		out = append(out, fmt.Sprintf("No connection was learned of %s: once enforced, the baseline isolates what was silent.", code(wording.Some(silent))))
	}
	for _, a := range n.Aged {
		out = append(out, fmt.Sprintf("Not seen since %s, and still allowed: %s. What is not used any more is proposed for removal with --retire.", stamp(a.Evidence.Last), connection(a)))
	}
	for _, u := range n.Unused {
		out = append(out, fmt.Sprintf("A decision of %s speaks of no connection: %s.", code(plan.File), code(u)))
	}
	if c.Final.Excess.Count > 0 {
		out = append(out, fmt.Sprintf("%d combinations of workloads and ports are allowed that were not seen, such as %s.", c.Final.Excess.Count, examples(c)))
	}
	return append(out, evidenceRisks(c)...)
}

// foreignRisks are the policies that the cluster has and Git has not.
func foreignRisks(r *proof.Report) []string {
	var out []string
	for _, f := range r.Foreign {
		out = append(out, fmt.Sprintf("%s is in the cluster and not in Git; it %s.", code(f.Policy), strings.Join(f.Words(code), "; ")))
	}
	if r.ForeignOmitted > 0 {
		out = append(out, fmt.Sprintf("%d more policies are in the cluster and not in Git; they were not judged.", r.ForeignOmitted))
	}
	for _, b := range r.Blocked {
		out = append(out, fmt.Sprintf("Impossible today: %s; %s.", code(b.Connection), b.Words(code)))
	}
	if r.BlockedOmitted > 0 {
		out = append(out, fmt.Sprintf("%d more connections are impossible today.", r.BlockedOmitted))
	}
	return out
}

// proofRisks are what the proof found in the files as they will be, beside what would break.
func proofRisks(r *proof.Report) []string {
	var out []string
	for _, x := range r.Excess.Ranges {
		out = append(out, fmt.Sprintf("%s allows %s; %d addresses were seen.", code(x.Rule), code(x.Range), x.Seen))
	}
	for _, x := range r.Excess.Future {
		out = append(out, fmt.Sprintf("%s allows pods that do not exist: %s, %s.", code(x.Rule), code(x.Pods), code(x.Ports)))
	}
	for _, x := range r.Excess.Open {
		out = append(out, fmt.Sprintf("Nothing isolates %s for %s: all is allowed there.", code(x.Workload), x.Direction))
	}
	for _, x := range r.Surplus {
		out = append(out, fmt.Sprintf("No connection needs %s.", code(x)))
	}
	for _, x := range r.SelectsNothing {
		out = append(out, fmt.Sprintf("%s selects no pod.", code(x)))
	}
	for _, x := range r.Strays {
		out = append(out, fmt.Sprintf("Left out of the proof: %s.", code(x)))
	}
	return out
}

// odd reasons are those that a person should decide about.
func odd(r evidence.Reason) bool {
	return slices.Contains([]evidence.Reason{evidence.Denied, evidence.Scan, evidence.OneOff, evidence.Outside, evidence.NewPeer, evidence.NoSelector}, r)
}

func examples(c *Change) string {
	var out []string
	for _, u := range c.Final.Excess.Pairs {
		out = append(out, code(fmt.Sprintf("%s → %s %s/%s", u.From, u.To, u.Protocol, u.Ports)))
	}
	return wording.Some(out)
}

func connectionRisks(connections []evidence.Connection) []string {
	var out, once []string
	visitors := visitors(connections)
	for d, from := range visitors {
		if len(from) > fewVisitors {
			out = append(out, d.crowd(from))
		}
	}
	ports, audited := map[string]int{}, 0
	for _, c := range connections {
		if c.Accepted != nil {
			out = append(out, fmt.Sprintf("Allowed because %s says so: %s (%s).", code(plan.File), connection(c), code(c.Accepted.Reason)))
		}
		switch {
		case c.To.IsPod():
		case inventory.OfCluster(c.To):
			out = append(out, fmt.Sprintf("To a node's address: %s. Nodes come and go.", connection(c)))
		default:
			out = append(out, fmt.Sprintf("Leaves the cluster: %s. An address may change its owner.", connection(c)))
		}
		d, outside := doorOf(&c)
		if !c.From.IsPod() && !(outside && len(visitors[d]) > fewVisitors) {
			out = append(out, fmt.Sprintf("Enters from outside of pods: %s.%s", connection(c), caveat(c)))
		}
		if c.Audited {
			audited++
		}
		if count, _ := c.Evidence.Flows.Value(); count == 1 {
			once = append(once, connection(c))
		}
		pair := fmt.Sprintf("%s → %s", c.From, c.To)
		if ports[pair]++; ports[pair] == manyPorts+1 {
			out = append(out, fmt.Sprintf("More than %d ports between %s: this looks like a scan.", manyPorts, code(pair)))
		}
	}
	slices.Sort(out)
	if len(once) > 0 {
		out = append(out, fmt.Sprintf("%d of %d connections were seen only once: %s.", len(once), len(connections), wording.Some(once)))
	}
	if audited > 0 {
		out = append(out, fmt.Sprintf("%d of %d connections would be dropped by the policies in place today, if they were enforced.", audited, len(connections)))
	}
	return out
}

func evidenceRisks(c *Change) []string {
	var out []string
	record := tree.ReadRecord(c.Namespace.Files)
	if record == nil {
		return out
	}
	if record.Input.Lost > 0 {
		out = append(out, fmt.Sprintf("The observers lost %d flows: a connection may be missing.", record.Input.Lost))
	}
	if record.Input.Malformed > 0 {
		out = append(out, fmt.Sprintf("%d lines of the input could not be read.", record.Input.Malformed))
	}
	return out
}
