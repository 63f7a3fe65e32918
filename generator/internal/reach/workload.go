// SPDX-License-Identifier: Apache-2.0

package reach

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// Workloads are those of an inventory. One whose pods have all completed stands for those to come, by its
// template; a bare pod that has completed is gone.
func Workloads(inv *inventory.Inventory) (all []Workload) {
	for _, w := range inv.Workloads() {
		out := Workload{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}
		for _, p := range w.Pods {
			if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
				out.Pods = append(out.Pods, p)
			}
		}
		switch {
		case len(out.Pods) > 0:
		case w.Kind == "Pod":
			continue
		default:
			out.Pods = []*corev1.Pod{{ObjectMeta: w.Template.ObjectMeta, Spec: w.Template.Spec}}
		}
		all = append(all, out)
	}
	return all
}
