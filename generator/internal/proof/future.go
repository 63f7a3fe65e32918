// SPDX-License-Identifier: Apache-2.0

package proof

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Future is a selector that matches pods which are no workload's of today: whoever can create a pod with
// those labels gets what the rule allows.
//
// A selector of pods in one namespace, by its name, that asks for all that a workload's own selector asks for
// is none: who creates such a pod makes it that workload's. It can only be avoided by allowing nothing. A
// rule without peers is not among these: it is a Range.
type Future struct {
	Rule  string `json:"rule"`  // the peer, or the podSelector of a policy that allows something
	Pods  string `json:"pods"`  // "any pod", "any pod in namespace shop", "pods app=web in namespaces team=shop"
	Ports string `json:"ports"` // "TCP/80, UDP/53" or "all"; empty for a podSelector: those of its rules
}

// future lists the selectors of rules, and of policies that have any, that match pods of no workload.
func (j *judge) future() (all []Future) {
	own := j.ownSelectors()
	last := -1
	for _, r := range j.excessive() {
		p := j.policies[r.policy]
		if r.policy != last {
			all = append(all, own.selected(p)...)
			last = r.policy
		}
		for i := range r.compiled.Peers {
			m := &r.compiled.Peers[i]
			name, one := namespaceOf(m)
			if m.Pods == nil || one && own.match(name, m.Pods) {
				continue
			}
			f := reach.Future{Namespaces: corev1.LabelMetadataName + "=" + name, Pods: m.Pods.String()}
			if m.Namespaces != nil {
				f.Namespaces = m.Namespaces.String()
			}
			all = append(all, Future{r.entry(peers, m.Index), f.String(), portsText(r.compiled)})
		}
	}
	return all
}

// ownSelectors are what the selectors of each namespace's workloads ask for.
type ownSelectors map[string][][]string

func (j *judge) ownSelectors() ownSelectors {
	all := ownSelectors{}
	for _, e := range j.sample.Workloads() {
		if s := j.sample.Selector(e); s != nil {
			all[e.Namespace] = append(all[e.Namespace], requirements(s))
		}
	}
	return all
}

// selected is the podSelector of a policy if it matches pods of no workload.
func (own ownSelectors) selected(p *networkingv1.NetworkPolicy) []Future {
	pods, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
	if err != nil || own.match(p.Namespace, pods) {
		return nil
	}
	f := reach.Future{Namespaces: corev1.LabelMetadataName + "=" + p.Namespace, Pods: pods.String()}
	return []Future{{Rule: fmt.Sprintf("NetworkPolicy %s/%s spec.podSelector", p.Namespace, p.Name), Pods: f.String()}}
}

// match says whether the selector asks for all that the selector of some workload asks for.
func (own ownSelectors) match(namespace string, pods labels.Selector) bool {
	asked := requirements(pods)
	return slices.ContainsFunc(own[namespace], func(workload []string) bool {
		return !slices.ContainsFunc(workload, func(r string) bool { return !slices.Contains(asked, r) })
	})
}

func requirements(s labels.Selector) []string {
	list, _ := s.Requirements()
	words := make([]string, 0, len(list))
	for _, r := range list {
		words = append(words, r.String())
	}
	return words
}

func portsText(r *netpol.Rule) string {
	if len(r.Ports) == 0 {
		return "all"
	}
	words := make([]string, 0, len(r.Ports))
	for i := range r.Ports {
		words = append(words, r.Ports[i].String())
	}
	return strings.Join(words, ", ")
}
