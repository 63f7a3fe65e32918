// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
)

// ran is a pod of a run, made by an owner of a kind, or by nobody.
func ran(name, kind, owner string, labels ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "data", Name: name, Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	if owner != "" {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: owner, Controller: new(true)}}
	}
	return p
}

// TestFamilies: pods that differ only in what names their run are one workload, and so is the next one, which no inventory has.
func TestFamilies(t *testing.T) {
	task := func(name, run string, more ...string) *corev1.Pod {
		return ran(name, "", "", append([]string{"dag_id", "etl", "task_id", "load", "run_id", run}, more...)...)
	}
	build := func(run string) *corev1.Pod {
		return ran("build-"+run+"-pod", "TaskRun", "build-"+run, "tekton.dev/task", "build", "tekton.dev/taskRun", "build-"+run)
	}
	host := ran("agent-b", "", "", "app", "agent")
	host.Spec.HostNetwork = true
	tests := []struct {
		name string
		pods []*corev1.Pod
		want string // the workload of a pod that comes next, with the first one's labels and a name of its own
	}{
		{"one run that is left", []*corev1.Pod{task("etl-load-aaa", "1")}, "Pod data/etl-load"},
		{"several runs", []*corev1.Pod{task("etl-load-aaa", "1"), task("etl-load-bbb", "2", "airflow_version", "3")}, "Pod data/etl-load"},
		{"several of a kind that Kubernetes does not have", []*corev1.Pod{build("x1"), build("x2")}, "TaskRun data/build"},
		{"the last of them that is left", []*corev1.Pod{build("x1")}, "TaskRun data/build"},
		{"names with nothing in common", []*corev1.Pod{task("aaa", "1"), task("bbb", "2")}, "Pod data/aaa"},
		{"a name that another pod has", []*corev1.Pod{task("etl-load-aaa", "1"), ran("etl-load", "", "", "app", "x")}, "Pod data/etl-load-aaa"},
		{"one of a kind that Kubernetes does not have", []*corev1.Pod{ran("db-1", "Cluster", "db", "app", "db"), ran("db-2", "Cluster", "db", "app", "db")}, "Cluster data/db"},
		{"alike without the label of a run", []*corev1.Pod{ran("shell-1", "", "", "app", "shell"), ran("shell-2", "", "", "app", "shell")}, "Pod data/next"},
		{"alone without the label of a run", []*corev1.Pod{ran("shell-1", "", "", "app", "shell")}, "Pod data/shell-1"},
		{"without a label that lasts", []*corev1.Pod{ran("shell-1", "", "", "run_id", "1"), ran("shell-2", "", "", "run_id", "2")}, "Pod data/next"},
		{"on the nodes' network", []*corev1.Pod{ran("agent-a", "", "", "app", "agent"), host}, "Pod data/next"},
	}
	for _, tt := range tests {
		objects := []runtime.Object{}
		for _, p := range tt.pods {
			objects = append(objects, p)
		}
		first := tt.pods[0]
		next := flows.Endpoint{Addr: netip.MustParseAddr("10.1.0.9"), Namespace: "data", Pod: "next", Labels: []string{"k8s:run_id=9", "k8s:tekton.dev/taskRun=next"}}
		for k, v := range first.Labels {
			if k != "run_id" && k != "tekton.dev/taskRun" {
				next.Labels = append(next.Labels, fmt.Sprintf("k8s:%s=%s", k, v))
			}
		}
		if len(first.OwnerReferences) > 0 {
			next.Kind, next.Workload = first.OwnerReferences[0].Kind, "next"
		}
		r := &flows.Record{Source: next, Destination: flows.Endpoint{Addr: netip.MustParseAddr("192.0.2.1")}, Oriented: true, Side: flows.Egress, Protocol: "TCP", DestinationPort: 1}
		if got := inventory.New(objects).Key(r).From.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
