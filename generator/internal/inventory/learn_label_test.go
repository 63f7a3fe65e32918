// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"strings"
	"testing"
)

// TestDerive: the names of pods tell what made them, as far as they do.
func TestDerive(t *testing.T) {
	for _, tt := range []struct{ pod, labels, want string }{
		{"web-5d8f7c6b9d-x2vq8", "", "Deployment shop/web"},
		{"my-web-5d8f7c6b9d-x2vq8", "", "Deployment shop/my-web"},
		{"web-5d8f7c6b9d-*", "", "Deployment shop/web"}, // Calico's word for several pods
		{"web-xyz-x2vq8", "pod-template-hash=xyz", "Deployment shop/web"},
		{"web-xyz-x2vq8", "", "Workload shop/web-xyz"},
		{"report-29384756-x2vq8", "", "CronJob shop/report"},
		{"report-20261122-x2vq8", "", "Workload shop/report-20261122"}, // a date, not minutes since 1970
		{"report-29384756-x2vq8", "job-name=report-29384756", "CronJob shop/report"},
		{"report-29384756-*", "", "CronJob shop/report"},
		{"load-x2vq8", "batch.kubernetes.io/job-name=load", "Job shop/load"},
		{"load-x2vq8", "batch.kubernetes.io/job-name=other", "Workload shop/load"},
		{"db-0", "statefulset.kubernetes.io/pod-name=db-0 controller-revision-hash=db-77", "StatefulSet shop/db"},
		{"db-12", "", "Workload shop/db"},
		{"db-007", "", "Pod shop/db-007"},
		{"db-*", "controller-revision-hash=db-77", "StatefulSet shop/db"},
		{"agent-x2vq8", "controller-revision-hash=77", "DaemonSet shop/agent"},
		{"agent-x2vq8", "", "Workload shop/agent"},
		{"agent-redis", "", "Pod shop/agent-redis"}, // nobody makes up vowels
		{"web", "", "Pod shop/web"},
		{"x2vq8", "", "Pod shop/x2vq8"},
		{"web*", "", "Pod shop/web*"},
	} {
		if got := derive("shop", tt.pod, hintOf(set(tt.labels))).String(); got != tt.want {
			t.Errorf("%s with %q is of %s, want %s", tt.pod, tt.labels, got, tt.want)
		}
	}
}

// TestPodLabels: of what an observer says, only what can be a pod's own label is one.
func TestPodLabels(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, tt := range []struct{ labels, want, cluster, wrong string }{
		{"k8s:app=web k8s:tier=", "app=web tier=", "", ""},
		{"k8s:app=web k8s:tier", "app=web tier=", "", ""},
		{"app=web projectcalico.org/namespace=shop", "app=web", "", ""}, // Calico
		{"k8s:io.kubernetes.pod.namespace=shop k8s:io.cilium.k8s.policy.serviceaccount=default", "", "", ""},
		{"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop k8s:app=web", "app=web", "", ""},
		{"k8s:io.cilium.k8s.policy.cluster=west k8s:app=web", "app=web", "west", ""},
		{"reserved:host cidr:10.0.0.0/8=x k8s:app=web", "app=web", "", ""},
		{"k8s:app.kubernetes.io/name=web", "app.kubernetes.io/name=web", "", ""},
		{"k8s:app=web k8s:app=web", "app=web", "", ""},
		{"k8s:app=web k8s:app=api", "", "", "two values"},
		{"k8s:app=<script>", "", "", "value"},
		{"k8s:a/b/c=web", "", "", "key"},
		{"k8s:=web", "", "", "key"},
		{"k8s:app=" + long, "", "", "value"},
		{"k8s:io.cilium.k8s.policy.cluster=`x`", "", "", "value"},
	} {
		got, cluster, err := podLabels(strings.Fields(tt.labels))
		switch {
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want an error about %s", tt.labels, err, tt.wrong)
		case tt.wrong == "" && (err != nil || !maps.Equal(got, set(tt.want)) || cluster != tt.cluster):
			t.Errorf("%s: %v of cluster %q (%v), want %s", tt.labels, got, cluster, err, tt.want)
		}
	}
	if _, _, err := podLabels([]string{"k8s:app=web\nx"}); err == nil {
		t.Error("a label of two lines is believed")
	}
	var many []string
	for i := range 100 {
		many = append(many, "k8s:"+strings.Repeat("x", 60)+strings.Repeat("y", i%3)+string(rune('a'+i%26))+"/k=v")
	}
	if _, _, err := podLabels(many); err == nil {
		t.Error("more labels than a pod has are believed")
	}
}
