// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// accept adds an object to the set, as an API server would take it: with a namespace, valid labels,
// and a name that no other has.
func (s *Set) accept(o Object, most int) error {
	m, err := meta.Accessor(o.Object)
	if err != nil {
		return o.source.fault("", "%w", err)
	}
	kind := o.GetObjectKind().GroupVersionKind().Kind
	if m.GetName() == "" {
		m.SetName(m.GetGenerateName()) // what the server appends is nobody's concern here
	}
	k := key{kind, m.GetNamespace(), m.GetName()}
	switch {
	case k.name == "":
		return o.source.fault("metadata", "%s: metadata.name is missing", kind)
	case clusterScoped[kind] && k.namespace != "":
		return o.source.fault("metadata.namespace", "%s: metadata.namespace: the kind has no namespaces; remove it", k)
	case !clusterScoped[kind] && k.namespace == "":
		k.namespace = "default"
		m.SetNamespace(k.namespace)
	}
	if i, ok := s.index[k]; ok {
		return fmt.Errorf("%s is given twice: %s and %s; remove one", k, s.Objects[i].source.given(), o.source.given())
	}
	if path, err := faultyLabel(o.Object, m); err != nil {
		return o.source.fault(path, "%s: %w", k, err)
	}
	if len(s.Objects) == most {
		return o.source.fault("", "more than %d objects; give fewer paths", most)
	}
	if s.index == nil {
		s.index = map[key]int{}
	}
	s.index[k] = len(s.Objects)
	s.Objects = append(s.Objects, o)
	return nil
}

// given is the position of the object, and the kustomization that it came through.
func (s source) given() string {
	if s.through == "" {
		return s.at("").String()
	}
	return fmt.Sprintf("%s (through the kustomization %s)", s.at(""), s.through)
}

// faultyLabel finds the first label that no API server would take, in the object, in the template of its
// pods, and in a selector by equality. Policies' own selectors are the evaluator's to judge.
func faultyLabel(o runtime.Object, m metav1.Object) (path string, err error) {
	sets := []labelSet{{"metadata.labels", m.GetLabels()}}
	switch o := o.(type) {
	case *corev1.Service:
		sets = append(sets, labelSet{"spec.selector", o.Spec.Selector})
	case *corev1.ReplicationController:
		sets = append(sets, labelSet{"spec.selector", o.Spec.Selector})
		if o.Spec.Template != nil {
			sets = append(sets, labelSet{"spec.template.metadata.labels", o.Spec.Template.Labels})
		}
	case *appsv1.Deployment:
		sets = append(sets, ofWorkload("spec", o.Spec.Selector, o.Spec.Template)...)
	case *appsv1.StatefulSet:
		sets = append(sets, ofWorkload("spec", o.Spec.Selector, o.Spec.Template)...)
	case *appsv1.DaemonSet:
		sets = append(sets, ofWorkload("spec", o.Spec.Selector, o.Spec.Template)...)
	case *appsv1.ReplicaSet:
		sets = append(sets, ofWorkload("spec", o.Spec.Selector, o.Spec.Template)...)
	case *batchv1.Job:
		sets = append(sets, ofWorkload("spec", o.Spec.Selector, o.Spec.Template)...)
	case *batchv1.CronJob:
		sets = append(sets, ofWorkload("spec.jobTemplate.spec", o.Spec.JobTemplate.Spec.Selector, o.Spec.JobTemplate.Spec.Template)...)
	}
	for _, s := range sets {
		if path, err := s.fault(); err != nil {
			return path, err
		}
	}
	return "", nil
}

func ofWorkload(path string, selector *metav1.LabelSelector, template corev1.PodTemplateSpec) []labelSet {
	sets := []labelSet{{path + ".template.metadata.labels", template.Labels}}
	if selector != nil {
		sets = append(sets, labelSet{path + ".selector.matchLabels", selector.MatchLabels})
	}
	return sets
}

// labelSet is a set of labels at a path of an object.
type labelSet struct {
	path   string
	labels map[string]string
}

// fault is about the first faulty label in the order of keys.
func (s labelSet) fault() (path string, err error) {
	for _, k := range slices.Sorted(maps.Keys(s.labels)) {
		at := s.path + "[" + k + "]"
		if problems := validation.IsQualifiedName(k); len(problems) > 0 {
			return at, fmt.Errorf("%s: key %s: %s", s.path, shorten(k), problems[0])
		}
		if problems := validation.IsValidLabelValue(s.labels[k]); len(problems) > 0 {
			return at, fmt.Errorf("%s[%s]: value %s: %s", s.path, k, shorten(s.labels[k]), problems[0])
		}
	}
	return "", nil
}
