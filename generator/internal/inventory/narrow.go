// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// narrow adds to the selector what tells the workload's pods from those of others that it selects, too: selectors may
// overlap, as those of a release and its canary, or of the parts of a chart. A label that all its pods have comes first.
// Where none does, the others' are excluded. What cannot be told apart is in Also, and so are bare pods: they come and go,
// and do not change a selector.
func (w *Workload) narrow(common map[string]string, others []*Workload) {
	rivals := with(others, func(o *Workload) bool {
		return o != w && !o.HostNetwork() && o.anyHas(func(l labels.Set) bool { return w.selects.Matches(l) })
	})
	if len(rivals) == 0 {
		return
	}
	slices.SortFunc(rivals, func(a, b *Workload) int { return a.Endpoint().Compare(b.Endpoint()) })
	bare := with(rivals, func(o *Workload) bool { return o.Kind == "Pod" || w.Kind == "Pod" })
	rivals = with(rivals, func(o *Workload) bool { return o.Kind != "Pod" && w.Kind != "Pod" })
	w.Selector = w.Selector.DeepCopy() // it is the object's own
	rivals = w.require(common, rivals)
	rivals = w.exclude(rivals)
	for _, o := range append(rivals, bare...) {
		w.Also = append(w.Also, o.Endpoint().String())
	}
	w.compile()
}

// require selects by labels of the workload until no other rival can be told apart so, and returns those that are left.
func (w *Workload) require(common map[string]string, rivals []*Workload) []*Workload {
	for {
		var key string
		left := rivals
		for _, k := range slices.Sorted(maps.Keys(common)) {
			same := with(rivals, func(o *Workload) bool { return o.anyHas(func(l labels.Set) bool { return l[k] == common[k] }) })
			if len(same) < len(left) && !slices.Contains(versions, k) {
				key, left = k, same
			}
		}
		if key == "" {
			return rivals
		}
		metav1.AddLabelToSelector(w.Selector, key, common[key])
		rivals = left
	}
}

// exclude selects by the absence of labels that only rivals have, and returns the rivals that are left.
func (w *Workload) exclude(rivals []*Workload) (left []*Workload) {
	without := map[string][]string{}
	for _, o := range rivals {
		all := o.common()
		mine := func(k string) bool { return w.anyHas(func(l labels.Set) bool { return l[k] == all[k] }) }
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), mine)
		if len(keys) == 0 {
			left = append(left, o)
			continue
		}
		key := keys[0]
		if i := slices.IndexFunc(keys, func(k string) bool { return !slices.Contains(versions, k) }); i >= 0 {
			key = keys[i]
		}
		without[key] = append(without[key], all[key])
	}
	for _, key := range slices.Sorted(maps.Keys(without)) {
		slices.Sort(without[key])
		w.Selector.MatchExpressions = append(w.Selector.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: slices.Compact(without[key]),
		})
	}
	return left
}

func with(all []*Workload, is func(*Workload) bool) []*Workload {
	return slices.DeleteFunc(slices.Clone(all), func(o *Workload) bool { return !is(o) })
}

// anyHas reports whether any pod has such labels, those that the workload makes next included.
func (w *Workload) anyHas(has func(labels.Set) bool) bool {
	if has(w.Template.Labels) {
		return true
	}
	for _, p := range w.Pods {
		if has(p.Labels) {
			return true
		}
	}
	return false
}
