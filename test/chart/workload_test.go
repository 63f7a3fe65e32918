// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"path"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// workload is a Deployment or DaemonSet.
type workload struct {
	name     string
	template corev1.PodTemplateSpec
}

func workloads(t *testing.T, objects []*unstructured.Unstructured) []workload {
	t.Helper()
	var found []workload
	for _, d := range only[appsv1.Deployment](t, objects, "Deployment") {
		found = append(found, workload{d.Name, d.Spec.Template})
	}
	for _, d := range only[appsv1.DaemonSet](t, objects, "DaemonSet") {
		found = append(found, workload{d.Name, d.Spec.Template})
	}
	if len(found) < 2 { // the generator is optional
		t.Fatalf("rendered %d workloads, want the webhook and the enforcer at least", len(found))
	}
	return found
}

func (w workload) pod(namespace string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: namespace}, Spec: w.template.Spec}
}

// container is the only one of the workload.
func (w workload) container(t *testing.T) corev1.Container {
	t.Helper()
	if n := len(w.template.Spec.Containers) + len(w.template.Spec.InitContainers); n != 1 {
		t.Fatalf("%s has %d containers, want 1", w.name, n)
	}
	return w.template.Spec.Containers[0]
}

// program is the name of the binary, which is the image's.
func program(c corev1.Container) string {
	name, _, _ := strings.Cut(path.Base(c.Image), ":")
	return name
}

// arguments are the container's, as the kubelet would pass them: $(NAME) replaced, and the paths of
// mounts replaced by those of directories here.
func arguments(c corev1.Container, mounts map[string]string) []string {
	var replacements []string
	for _, variable := range c.Env {
		value := variable.Value
		if variable.ValueFrom != nil {
			value = "value-from-the-pod"
		}
		replacements = append(replacements, "$("+variable.Name+")", value)
	}
	for from, to := range mounts {
		replacements = append(replacements, from, to)
	}
	replacer := strings.NewReplacer(replacements...)
	var args []string
	for _, arg := range c.Args {
		args = append(args, replacer.Replace(arg))
	}
	return args
}
