// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// Pods of operators that make a pod for each run (tasks of pipelines and of workflows) have no object in the inventory that says what
// is alike about them. Their lasting labels do: those that do not differ in them are one workload, which the next run is of, too.

// family is what makes pods one workload.
type family struct{ namespace, kind, labels string }

// familiesOf are the workloads of what was made for one run, by what was made: a pod, or the owner of pods if nothing in the inventory
// makes that. All other workloads have to be known. pods are in the order of their names.
func (inv *Inventory) familiesOf(pods []*corev1.Pod) map[edge.Endpoint]edge.Endpoint {
	alike, said, taken := map[family][]edge.Endpoint{}, map[family]bool{}, map[edge.Endpoint]bool{}
	for _, p := range pods {
		ref := inv.ownerOf(p)
		known := taken[ref] || inv.workloads[ref] != nil
		taken[ref] = true
		if stable := lasting(StableLabels(p.Labels)); !known && isRun(p, ref) && len(stable) > 0 {
			f := family{p.Namespace, ref.Kind, labelText(stable)}
			alike[f] = append(alike[f], ref)
			said[f] = said[f] || saysRun(p)
		}
	}
	out := map[edge.Endpoint]edge.Endpoint{}
	for _, f := range slices.SortedFunc(maps.Keys(alike), family.compare) {
		runs := alike[f]
		if len(runs) == 1 && !said[f] {
			continue // it may be no run, but what makes them
		}
		head := runs[0]
		if name := commonName(runs); name != "" {
			head.Name = name
		}
		if taken[head] {
			head = runs[0]
		}
		taken[head] = true
		for _, ref := range runs {
			out[ref] = head
		}
	}
	return out
}

// isRun reports whether a pod was made for one run: it says so, or is made by what Kubernetes does not know.
func isRun(p *corev1.Pod, ref edge.Endpoint) bool {
	return !p.Spec.HostNetwork && (ref.Kind != "Pod" || saysRun(p))
}

func saysRun(p *corev1.Pod) bool {
	return slices.ContainsFunc(runLabels, func(key string) bool { return p.Labels[key] != "" })
}

func (f family) compare(o family) int {
	return slices.Compare([]string{f.namespace, f.kind, f.labels}, []string{o.namespace, o.kind, o.labels})
}

// madeBy is the workload that a pod is of.
func (inv *Inventory) madeBy(p *corev1.Pod) edge.Endpoint {
	ref := inv.ownerOf(p)
	if head, ok := inv.families[ref]; ok {
		return head
	}
	return ref
}

// commonName is what the names have in common without their last parts, which name the run; empty: nothing.
func commonName(refs []edge.Endpoint) string {
	name, _ := cutLast(refs[0].Name)
	for _, ref := range refs[1:] {
		for name != "" && !strings.HasPrefix(ref.Name, name+"-") {
			name, _ = cutLast(name)
		}
	}
	return name
}

func labelText(all map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(k + "=" + all[k] + "\n")
	}
	return b.String()
}
