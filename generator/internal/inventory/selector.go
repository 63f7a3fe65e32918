// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// templateHash is the label that ties a pod to its ReplicaSet.
const templateHash = "pod-template-hash"

// unstable are the labels that controllers put on pods and that name one revision, run or replica:
// a policy that selects by them stops matching at the next rollout.
var unstable = []string{
	templateHash,
	"controller-uid", "batch.kubernetes.io/controller-uid",
	"job-name", "batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index",
	"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
	"controller-revision-hash", "pod-template-generation",
}

// runLabels are the labels that operators put on the pod of one run, task or game: no other pod has them.
var runLabels = []string{
	"run_id", "try_number", "execution_date", "map_index", "airflow-worker", // Airflow
	"tekton.dev/taskRun", "tekton.dev/taskRunUID", "tekton.dev/pipelineRun", "tekton.dev/pipelineRunUID",
	"workflows.argoproj.io/workflow", "workflows.argoproj.io/completed",
	"spark-app-selector", "spark-exec-id", "sparkoperator.k8s.io/submission-id",
	"agones.dev/gameserver", "strimzi.io/pod-name", "cnpg.io/instanceName", "kubevirt.io/created-by", "kubevirt.io/nodeName",
}

// versions are the labels that people and charts put on pods and that name a version: they end at the next upgrade.
var versions = []string{"helm.sh/chart", "chart", "app.kubernetes.io/version", "version", "rollouts-pod-template-hash", "airflow_version"}

// StableLabels returns the labels that outlive a rollout; nil when there are none.
func StableLabels(all map[string]string) map[string]string {
	stable := maps.Clone(all)
	for _, key := range unstable {
		delete(stable, key)
	}
	for _, key := range runLabels {
		delete(stable, key)
	}
	if len(stable) == 0 {
		return nil
	}
	return stable
}

// settle makes the selector from the workload's own, or from its pods' labels where it has none
// of its own that lasts (Jobs, bare pods). others are the workloads of its namespace.
func (w *Workload) settle(others []*Workload) {
	common := w.common()
	if w.Selector = stableSelector(w.Selector); w.Selector == nil && len(common) > 0 {
		w.Selector = &metav1.LabelSelector{MatchLabels: w.withoutVersions(common, others)}
	}
	w.compile()
	if w.selects != nil {
		w.narrow(common, others)
	}
}

// common are the lasting labels that all pods of the workload have, those that it makes next included.
func (w *Workload) common() map[string]string {
	common := StableLabels(w.Template.Labels)
	for _, p := range w.Pods {
		maps.DeleteFunc(common, func(k, v string) bool { return p.Labels[k] != v })
	}
	return common
}

// withoutVersions leaves out the labels that name a version, unless the others are another workload's, too: a policy that
// ends at the next upgrade denies, and one that is somebody else's allows.
func (w *Workload) withoutVersions(all map[string]string, others []*Workload) map[string]string {
	left := lasting(all)
	if slices.ContainsFunc(others, func(o *Workload) bool {
		return o != w && labels.SelectorFromSet(left).Matches(labels.Set(o.Template.Labels))
	}) {
		return all
	}
	return left
}

// lasting are the labels that do not name a version, or all if each does.
func lasting(all map[string]string) map[string]string {
	left := maps.Clone(all)
	maps.DeleteFunc(left, func(k, _ string) bool { return slices.Contains(versions, k) })
	if len(left) == 0 {
		return all
	}
	return left
}

func (w *Workload) compile() {
	if w.Selector == nil {
		return
	}
	if s, err := metav1.LabelSelectorAsSelector(w.Selector); err == nil {
		w.selects = s
	}
}

// stableSelector leaves out what names one revision. It never returns an empty selector: that
// would select every pod of the namespace.
func stableSelector(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	out := &metav1.LabelSelector{MatchLabels: StableLabels(s.MatchLabels)}
	for _, e := range s.MatchExpressions {
		if !slices.Contains(unstable, e.Key) && !slices.Contains(runLabels, e.Key) {
			e.Values = slices.Sorted(slices.Values(e.Values))
			out.MatchExpressions = append(out.MatchExpressions, e)
		}
	}
	if len(out.MatchLabels)+len(out.MatchExpressions) == 0 {
		return nil
	}
	return out
}

// ownerOf follows the owner references up to what a person wrote.
func (inv *Inventory) ownerOf(p *corev1.Pod) edge.Endpoint {
	owner := metav1.GetControllerOf(p)
	if owner == nil || owner.Kind == "Node" { // Node: a static pod's mirror
		return edge.Endpoint{Kind: "Pod", Namespace: p.Namespace, Name: p.Name}
	}
	ref := edge.Endpoint{Kind: owner.Kind, Namespace: p.Namespace, Name: owner.Name}
	if up, ok := inv.between[ref]; ok {
		return up
	}
	// A Deployment names its ReplicaSets after itself and the hash; the ReplicaSet itself may not
	// be among the manifests.
	if name, ok := strings.CutSuffix(owner.Name, "-"+p.Labels[templateHash]); ok && owner.Kind == "ReplicaSet" && inv.workloads[ref] == nil {
		return edge.Endpoint{Kind: "Deployment", Namespace: p.Namespace, Name: name}
	}
	return ref
}
