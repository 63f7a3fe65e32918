// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"io"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// tellLearned says on standard error what was learned where no inventory was given, and what flows cannot tell; nil: one was.
func tellLearned(errOut io.Writer, l *inventory.Learned) {
	if l == nil {
		return
	}
	fmt.Fprintf(errOut, "no inventory: %d workloads in %d namespaces were learned from the flows. Flows do not tell of workloads that were silent, when CronJobs run, what Services publish and what is behind their addresses, or what ports are called; selectors are proven against the pods that were seen alone. Give --inventory or --kubeconfig for these\n",
		l.Workloads, l.Namespaces)
	if l.Derived > 0 {
		fmt.Fprintf(errOut, "%d of the workloads are called after their pods, because no flow names them\n", l.Derived)
	}
	if l.Unselected > 0 {
		fmt.Fprintf(errOut, "%d of the workloads cannot be told apart by their pods' labels, and nothing is learned of them: see what is listed as no-selector\n", l.Unselected)
	}
	if len(l.Crowded) > 0 {
		fmt.Fprintf(errOut, "nothing is learned of namespaces whose pods have too many different labels: %s\n", wording.Some(l.Crowded))
	}
	if len(l.Invalid) > 0 {
		fmt.Fprintf(errOut, "labels that no pod can have are not believed; they are of pods in %s\n", wording.Some(l.Invalid))
	}
	if l.Foreign > 0 {
		fmt.Fprintf(errOut, "pods of another cluster are no workloads of this one: %d kinds of them\n", l.Foreign)
	}
}
