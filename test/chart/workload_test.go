// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/cert"
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

// valueFromThePod is what every field of the pod is that a variable refers to.
const valueFromThePod = "value-from-the-pod"

// arguments are the container's, as the kubelet would pass them: $(NAME) replaced, and the paths of
// mounts replaced by those of directories here.
func arguments(c corev1.Container, mounts map[string]string) []string {
	var replacements []string
	for _, variable := range c.Env {
		value := variable.Value
		if variable.ValueFrom != nil {
			value = valueFromThePod
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

// mounts makes a directory for each volume of the container, by mount path. A volume of a Secret has what
// is in that Secret, or if it is not among those given, what values ask people to put there.
func (w workload) mounts(t *testing.T, secrets []corev1.Secret) map[string]string {
	t.Helper()
	dirs, volumes := map[string]string{}, map[string]string{}
	for _, mount := range w.container(t).VolumeMounts {
		dirs[mount.MountPath] = t.TempDir()
		volumes[mount.Name] = dirs[mount.MountPath]
	}
	for _, volume := range w.template.Spec.Volumes {
		if volume.Secret != nil {
			writeSecret(t, volumes[volume.Name], volume.Secret.SecretName, secrets)
		}
	}
	return dirs
}

func writeSecret(t *testing.T, dir, name string, secrets []corev1.Secret) {
	t.Helper()
	crt, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"tls.crt": crt, "tls.key": key, "ca.crt": crt, "token": []byte("t0k3n\n")}
	for _, secret := range secrets {
		if secret.Name == name {
			data = secret.Data
		}
	}
	for name, content := range data {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
