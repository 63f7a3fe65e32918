// SPDX-License-Identifier: Apache-2.0

// Package review writes the text of a pull request: what a person needs in order to approve
// policies in two minutes, the dangerous part first.
package review

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/readiness"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// Change is one namespace's change as a person will review it.
type Change struct {
	Cluster   string
	Namespace *proposal.Namespace
	Base      tree.Files // as the base branch has them; empty: none yet
	Merged    *tree.Merged
	Final     *proof.Report // of the merged files
	Command   string        // reproduces the policies
	// AssumedDNS is as in proposal.Proposal.
	AssumedDNS string
}

// maxRows bounds each list; what is left out is counted, and evidence.json has it all.
const maxRows = 200

// Body is the pull request's text in Markdown. The same change gives the same bytes.
func Body(c *Change) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Network policies of %s in cluster %s\n\n", code(c.Namespace.Name), code(c.Cluster))
	kind, command := "connections", c.Command
	if d := c.Namespace.Directions.Words(); len(d) == 1 {
		kind = d[0] + " connections"
		if !strings.Contains(command, "--directions") {
			command += " --directions " + d[0]
		}
	}
	fmt.Fprintf(&b, "%d %s were observed; %d policies allow them. Proven: every observed connection is allowed, and removing any rule, peer or port of a generated policy breaks one.\n\n",
		len(c.Namespace.Connections), kind, len(c.Namespace.Policies))
	list(&b, "Risks", risks(c), "None found.")
	readyText(&b, c.Namespace.Readiness)
	added, removed := diff(c)
	list(&b, "Connections added", added, "None.")
	list(&b, "Connections removed", removed, "None.")
	rules(&b, c.Namespace)
	list(&b, "What would break", breaks(c), "Nothing that was observed.")
	fmt.Fprintf(&b, "## Reproduce\n\n    %s\n", strings.Join(strings.Fields(command), " "))
	return b.String()
}

// readyText says how completely the workloads were observed.
func readyText(b *strings.Builder, r *readiness.Report) {
	fmt.Fprintf(b, "## Readiness\n\n%s\n\n", code(r.Summary()))
	if len(r.Workloads) == 0 {
		return
	}
	b.WriteString("| workload | observed since | connections | new | estimated coverage | estimated unseen | waits for |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, w := range r.Workloads[:min(len(r.Workloads), maxRows)] {
		since := "never"
		if !w.Since.IsZero() {
			since = stamp(w.Since)
		}
		waits := "nothing"
		if !w.Ready {
			waits = code(strings.Join(w.Why, "; "))
		}
		fmt.Fprintf(b, "| %s | %s | %d | %d | %.0f %% | %.0f | %s |\n", code(w.Workload), since, w.Connections, w.New, 100*w.Coverage, w.Unseen, waits)
	}
	if more := len(r.Workloads) - maxRows; more > 0 {
		fmt.Fprintf(b, "\n… and %d more\n", more)
	}
	b.WriteString("\n")
}

func list(b *strings.Builder, title string, items []string, none string) {
	fmt.Fprintf(b, "## %s\n\n", title)
	if len(items) == 0 {
		fmt.Fprintf(b, "%s\n\n", none)
		return
	}
	for _, i := range items[:min(len(items), maxRows)] {
		fmt.Fprintf(b, "- %s\n", i)
	}
	if more := len(items) - maxRows; more > 0 {
		fmt.Fprintf(b, "- … and %d more: see %s\n", more, code(tree.EvidenceFile))
	}
	b.WriteString("\n")
}

// diff compares the evidence of the base branch with the new one. Connections are compared, not
// text: a rule that moved is no change.
func diff(c *Change) (added, removed []string) {
	before, after := map[string]bool{}, map[string]bool{}
	if r := tree.ReadRecord(c.Base); r != nil {
		collect(before, r.Rules)
	}
	if r := tree.ReadRecord(c.Namespace.Files); r != nil {
		collect(after, r.Rules)
	}
	for k := range after {
		if !before[k] {
			added = append(added, code(k))
		}
	}
	for k := range before {
		if !after[k] {
			removed = append(removed, code(k)+" is not seen any more, or its workload is gone; it will be denied")
		}
	}
	slices.Sort(added)
	slices.Sort(removed)
	return added, removed
}

func collect(set map[string]bool, rules []tree.Rule) {
	for _, r := range rules {
		set[r.Connection.Key.String()] = true
	}
}

func rules(b *strings.Builder, n *proposal.Namespace) {
	b.WriteString("## Evidence for each rule\n\n")
	if len(n.Policies) == 0 {
		b.WriteString("No rules: only the baseline applies.\n\n")
		return
	}
	b.WriteString("| rule | connection | flows | first seen | last seen | seen on |\n| --- | --- | --- | --- | --- | --- |\n")
	rows := 0
	for _, r := range n.Rules {
		for _, c := range r.Connections {
			if rows++; rows <= maxRows {
				fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", code(tree.FileOf(r.Policy)+" "+r.Path), connection(c),
					flowCount(c.Evidence), stamp(c.Evidence.First), stamp(c.Evidence.Last), code(strings.Join(c.Evidence.Nodes, ", ")))
			}
		}
	}
	if rows > maxRows {
		fmt.Fprintf(b, "\n… and %d more: see %s\n", rows-maxRows, code(tree.EvidenceFile))
	}
	b.WriteString("\n")
}

func connection(c evidence.Connection) string {
	text := code(c.String())
	if len(c.Evidence.Names) > 0 {
		text += " (" + code(strings.Join(c.Evidence.Names, ", ")) + ")"
	}
	return text
}

func flowCount(e *edge.Evidence) string {
	n, estimated := e.Flows.Value()
	if estimated {
		return fmt.Sprintf("about %d", n)
	}
	return fmt.Sprint(n)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// breaks lists what will be denied once this is enforced.
func breaks(c *Change) []string {
	var out []string
	for _, b := range c.Final.Broken {
		out = append(out, fmt.Sprintf("%s, because of a file that a person edited: %s", code(b.Connection), code(b.Reason)))
	}
	listed := slices.Clone(c.Namespace.Listed)
	slices.SortStableFunc(listed, func(a, b evidence.Listed) int { return cmp.Compare(a.Reason, b.Reason) })
	for _, l := range listed {
		switch l.Reason {
		case evidence.OwnNode, evidence.NoPod, evidence.KnownEnds:
			continue // allowed without a rule, none of a policy's business, or what else is said of the same ends
		}
		out = append(out, fmt.Sprintf("%s, %s, %s flows: %s", code(l.Edge.Key.String()), l.Reason, flowCount(&l.Edge.Evidence), code(l.Detail)))
	}
	return out
}
