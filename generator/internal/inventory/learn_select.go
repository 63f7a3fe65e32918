// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// maxName bounds the names of workloads that are learned, so that a policy's name has room for the kind, too.
const maxName = 180

// label is one label of a pod.
type label struct{ namespace, key, value string }

// holders are the workloads with a pod that has a label, in order.
type holders map[label][]*Workload

func (h holders) add(w *Workload) {
	for _, p := range w.Pods {
		for key, value := range p.Labels {
			l := label{w.Namespace, key, value}
			if all := h[l]; len(all) == 0 || all[len(all)-1] != w {
				h[l] = append(all, w)
			}
		}
	}
}

// rivals are workloads, among them all those that a selector of w's labels can select, and w itself: such a selector has
// the labels that name no version, if there are any.
func (h holders) rivals(w *Workload) []*Workload {
	var fewest []*Workload
	for key, value := range lasting(w.common()) {
		if all := h[label{w.Namespace, key, value}]; fewest == nil || len(all) < len(fewest) {
			fewest = all
		}
	}
	return fewest
}

// selectLearned makes the selectors of what was learned.
func (inv *Inventory) selectLearned() {
	all, holders := inv.Workloads(), holders{}
	for _, w := range all {
		slices.SortFunc(w.Pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
		holders.add(w)
		if problems := validation.IsDNS1123Subdomain(w.Name); len(problems) > 0 || len(w.Name) > maxName {
			w.Advice = cmp.Or(w.Advice, "its name cannot be that of a policy: give --inventory or --kubeconfig")
		}
	}
	for _, w := range all {
		if w.Advice == "" {
			w.selectAmong(holders.rivals(w))
		}
		if w.Selector == nil {
			inv.learned.Unselected++
		}
	}
}

// selectAmong makes the selector of a workload from the labels that all its pods have; others are those that it may select.
// There is none if it would select pods of another workload, too: bare pods aside, which come and go, and are named.
func (w *Workload) selectAmong(others []*Workload) {
	if w.settle(others); w.Selector == nil {
		w.Advice = "its pods have no lasting label in common: give them one, or give --inventory or --kubeconfig"
		return
	}
	for _, o := range others {
		if !slices.Contains(w.Also, o.Endpoint().String()) || o.Kind == "Pod" && o.Advice == "" {
			continue
		}
		w.Advice = fmt.Sprintf("the labels of its pods (%s) are also those of pods of %s: give its pods a label of their own, or give --inventory or --kubeconfig", text(w.common()), o.Endpoint())
		w.Selector, w.selects, w.Also = nil, nil, nil
		return
	}
}
