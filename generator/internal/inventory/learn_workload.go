// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// Learned says what an inventory knows from flows alone.
type Learned struct {
	Namespaces, Workloads int
	// Derived are workloads that no flow names: pods' names and labels do.
	Derived int
	// Unselected are those that have no selector; their Advice says why.
	Unselected int
	// Crowded are namespaces with too many kinds of pods: none of them is learned. Invalid are, of those with labels that
	// no pod can have, the first. Foreign is of how many kinds of pods the cluster is another one. Ordered.
	Crowded, Invalid []string
	Foreign          int
}

// Learned says what was learned; nil: the inventory was made of objects.
func (inv *Inventory) Learned() *Learned { return inv.learned }

// Conclude makes the workloads of an inventory that learns, and names the ends of all edges by them. Of any other
// inventory the fold is what it was; otherwise it is empty afterwards. It is called once; it is an error if the flows name more than can be learned.
func (inv *Inventory) Conclude(f *edge.Fold) (*edge.Fold, error) {
	l := inv.learner
	if l == nil {
		return f, nil
	}
	if l.err != nil {
		return nil, l.err
	}
	inv.learner, inv.learned = nil, &Learned{Invalid: l.invalid}
	l.conclude(inv)
	edges := f.Drain()
	out := edge.NewFold(max(len(edges), 1))
	for _, e := range edges {
		k := e.Key
		k.From, k.To = inv.final(l, k.From), inv.final(l, k.To)
		if isOutside(k.To) && l.services[k.To.Addr] { // a reply does not name the Service
			k.To.Entity = EntityService
		}
		if err := out.Put(k, &e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Unknown says why there is no workload for an end that is a pod, and what to do.
func (inv *Inventory) Unknown(e edge.Endpoint) string {
	switch l := inv.learned; {
	case l == nil:
		return fmt.Sprintf("%s is not in the inventory", e)
	case slices.Contains(l.Crowded, e.Namespace):
		return fmt.Sprintf("the pods of namespace %s have more than %d different sets of labels: give --inventory or --kubeconfig", e.Namespace, maxAlike)
	}
	return fmt.Sprintf("flows do not say what labels %s has, or it is of another cluster: give --inventory or --kubeconfig", e)
}

// final is the workload of an end that was folded while the inventory learned.
func (inv *Inventory) final(l *learner, e edge.Endpoint) edge.Endpoint {
	end := e
	switch {
	case e.IsPod() && l.crowded(e.Namespace):
		end = edge.Endpoint{Kind: "Pod", Namespace: e.Namespace, Name: "*"}
	case e.Kind == alikeKind:
		end = inv.owner[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}]
	}
	end.Entity = e.Entity // of an end that stands for many
	return end
}

// conclude makes the namespaces, the workloads with their pods, and their selectors.
func (l *learner) conclude(inv *Inventory) {
	for namespace := range l.namespaces {
		inv.known[namespace] = true
		inv.namespaces = append(inv.namespaces, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{corev1.LabelMetadataName: namespace}},
		})
		if l.crowded(namespace) {
			inv.learned.Crowded = append(inv.learned.Crowded, namespace)
		}
	}
	slices.SortFunc(inv.namespaces, func(a, b *corev1.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(inv.learned.Crowded)
	l.assign(inv)
	for end := range l.bare {
		if !l.crowded(end.Namespace) && inv.workloads[end] == nil {
			inv.workloads[end] = &Workload{Kind: end.Kind, Namespace: end.Namespace, Name: end.Name, Advice: "flows do not say what labels its pods have: give --inventory or --kubeconfig"}
		}
	}
	inv.selectLearned()
	inv.learned.Namespaces, inv.learned.Workloads = len(inv.namespaces), len(inv.workloads)
}

// assign gives each kind of pods to its workload.
func (l *learner) assign(inv *Inventory) {
	home := l.home()
	kinds, named := l.kinds(home), map[edge.Endpoint]bool{}
	for _, key := range slices.Sorted(maps.Keys(l.alike)) {
		a := l.alike[key]
		if l.crowded(a.namespace) {
			continue
		}
		id := types.NamespacedName{Namespace: a.namespace, Name: a.id}
		if a.isForeign(home) {
			inv.learned.Foreign++
			inv.owner[id] = edge.Endpoint{Kind: "Pod", Namespace: a.namespace, Name: a.pods[0]}
			continue
		}
		end, advice := a.workload(kinds)
		inv.owner[id] = end
		inv.adopt(end, a, advice)
		named[end] = named[end] || len(a.said) > 0
	}
	for _, is := range named {
		if !is {
			inv.learned.Derived++
		}
	}
}

// home is the cluster that the flows are of: the one of most kinds of pods.
func (l *learner) home() string {
	count := map[string]int{}
	for _, a := range l.alike {
		count[a.cluster]++
	}
	delete(count, "") // not known
	home := ""
	for _, cluster := range slices.Sorted(maps.Keys(count)) {
		if home == "" || count[cluster] > count[home] {
			home = cluster
		}
	}
	return home
}

func (a *alike) isForeign(home string) bool { return a.cluster != "" && a.cluster != home }

// name is a workload's without its kind.
type name struct{ namespace, name string }

// kinds are the workloads of which the kind is known, by their names.
func (l *learner) kinds(home string) map[name]claims {
	out := map[name]claims{}
	for _, a := range l.alike {
		if all := a.claims(); len(all) == 1 && all[0].Kind != unnamed && !a.isForeign(home) {
			n := name{a.namespace, all[0].Name}
			c := out[n]
			c.add(all[0])
			out[n] = c
		}
	}
	return out
}

// claims are the workloads that the pods are said to be of: by flows, or else by their names.
func (a *alike) claims() claims {
	if len(a.said) > 0 {
		return a.said
	}
	return a.derived
}

// workload is whose the pods are. Where that cannot be told, it is a pod in place of them, with advice.
func (a *alike) workload(kinds map[name]claims) (end edge.Endpoint, advice string) {
	all := a.claims()
	if len(all) == 1 {
		end = all[0]
		if known := kinds[name{end.Namespace, end.Name}]; end.Kind == unnamed && len(known) == 1 {
			end = known[0]
		}
		return end, ""
	}
	end = edge.Endpoint{Kind: "Pod", Namespace: a.namespace, Name: a.pods[0]}
	return end, fmt.Sprintf("pods of %s and of %s have the same labels (%s), so that flows do not tell them apart: give each a label of its own, or give --inventory or --kubeconfig", all[0], all[1], text(a.labels))
}

// dnsContainers are what the pods of DNS call their ports in nearly every cluster: policies that were made with an inventory
// do so, too.
var dnsContainers = []corev1.Container{{Ports: []corev1.ContainerPort{
	{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", ContainerPort: 53, Protocol: corev1.ProtocolTCP},
}}}

// adopt adds pods to their workload.
func (inv *Inventory) adopt(end edge.Endpoint, a *alike, advice string) {
	w := inv.workloads[end]
	if w == nil {
		w = &Workload{Kind: end.Kind, Namespace: end.Namespace, Name: end.Name}
		w.Template.Labels = a.labels
		inv.workloads[end] = w
	}
	w.Advice = cmp.Or(w.Advice, advice)
	for _, pod := range a.pods {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: pod, Labels: a.labels}}
		if inv.pods[nameOf(p)] != nil { // it had other labels at another time
			p.Name += a.id
		}
		if a.namespace == metav1.NamespaceSystem && a.labels["k8s-app"] == "kube-dns" {
			p.Spec.Containers = dnsContainers
		}
		inv.pods[nameOf(p)] = p
		w.Pods = append(w.Pods, p)
	}
}

// text is a set of labels for people.
func text(set map[string]string) string {
	return strings.ReplaceAll(labels.Set(set).String(), ",", ", ")
}
