// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"bytes"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
)

// dump is what kubectl get pods -A -o yaml (or json) prints for n pods.
func dump(b *testing.B, n int) (yaml, json []byte) {
	b.Helper()
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for i := range n {
		p := corev1.Pod{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("api-%d", i), Namespace: fmt.Sprintf("team-%d", i%100), Labels: map[string]string{"app": "api", "pod-template-hash": "5d8c7b9f4"}},
			Spec:       corev1.PodSpec{NodeName: "node-1", ServiceAccountName: "default"},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.%d.%d", i/256, i%256)},
		}
		for c := range 2 {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
				Name: fmt.Sprintf("c%d", c), Image: "registry.example.com/api:1.2.3", Command: []string{"sh", "-c", "start && wait *"},
				Ports:        []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
				Env:          []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}, {Name: "E", Value: "f"}},
				VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}},
			})
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: fmt.Sprintf("c%d", c), Ready: true, Image: "registry.example.com/api:1.2.3"})
		}
		list.Items = append(list.Items, p)
	}
	yaml, err := sigsyaml.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	if json, err = sigsyaml.YAMLToJSON(yaml); err != nil {
		b.Fatal(err)
	}
	return yaml, json
}

func BenchmarkLoad(b *testing.B) {
	const pods = 10_000
	yaml, json := dump(b, pods)
	for _, tt := range []struct {
		name  string
		data  []byte
		lines bool
	}{{"yaml", yaml, false}, {"yaml and a position", yaml, true}, {"json", json, false}, {"json and a position", json, true}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.data)))
			for b.Loop() {
				set, err := manifest.Load([]string{"-"}, bytes.NewReader(tt.data), manifest.Lenient)
				if err != nil || len(set.Objects) != pods {
					b.Fatal(err)
				}
				if tt.lines && begin(b, set, set.Objects[pods-1]).Line == 0 {
					b.Fatal("no line")
				}
			}
		})
	}
}
