// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestAPIServerAcceptsEverything creates each object as a dry run. Unknown fields are errors.
func TestAPIServerAcceptsEverything(t *testing.T) {
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			for _, object := range render(t, values) {
				if err := admin.Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

// TestPodSecurity asks the API server's own admission: all but the enforcer meet the strictest
// standard, and the enforcer needs the widest without being privileged.
func TestPodSecurity(t *testing.T) {
	if err := createNamespace(admin, "restricted", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}); err != nil {
		t.Fatal(err)
	}
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			for _, w := range workloads(t, render(t, values)) {
				err := admin.Create(t.Context(), w.pod("restricted"), client.DryRunAll)
				if w.name != "bulkhead-enforcer" && err != nil {
					t.Errorf("%s under the standard restricted: %v", w.name, err)
				}
				if w.name == "bulkhead-enforcer" && (err == nil || !strings.Contains(err.Error(), "violates PodSecurity")) {
					t.Errorf("%s under the standard restricted: got %v, want a refusal (else this test tells nothing)", w.name, err)
				}
				w.checkContainers(t)
			}
		})
	}
}

func (w workload) checkContainers(t *testing.T) {
	t.Helper()
	allowed := []corev1.Capability{"BPF", "PERFMON", "NET_ADMIN", "NET_RAW", "SYS_ADMIN"}
	for _, container := range w.template.Spec.Containers {
		s := container.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Privileged != nil && *s.Privileged {
			t.Errorf("%s: security context %+v, want a read-only root and no privilege", w.name, s)
			continue
		}
		if !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: drops %v, want ALL", w.name, s.Capabilities.Drop)
		}
		for _, added := range s.Capabilities.Add {
			if w.name != "bulkhead-enforcer" || !slices.Contains(allowed, added) {
				t.Errorf("%s: has capability %s", w.name, added)
			}
		}
		if container.LivenessProbe == nil || container.ReadinessProbe == nil || len(container.Resources.Limits) == 0 {
			t.Errorf("%s: wants probes and limits", w.name)
		}
	}
	w.checkHostPaths(t)
}

// checkHostPaths: the enforcer writes to the BPF file system, and only reads what else it has of the host.
func (w workload) checkHostPaths(t *testing.T) {
	t.Helper()
	writable := map[string]bool{}
	for _, mount := range w.container(t).VolumeMounts {
		writable[mount.Name] = !mount.ReadOnly
	}
	for _, volume := range w.template.Spec.Volumes {
		if volume.HostPath == nil {
			continue
		}
		allowed := slices.Contains([]string{"bpf", "netns", "nri"}, volume.Name)
		if w.name != "bulkhead-enforcer" || !allowed || writable[volume.Name] && volume.HostPath.Path != "/sys/fs/bpf" {
			t.Errorf("%s: mounts %s of the host, writable: %t", w.name, volume.HostPath.Path, writable[volume.Name])
		}
	}
}

func TestRolesNameWhatTheyAllow(t *testing.T) {
	for name, values := range variants(t) {
		t.Run(name, func(t *testing.T) {
			roles := only[rbacv1.ClusterRole](t, render(t, values), "ClusterRole", "Role")
			if len(roles) < 2 { // the generator is optional
				t.Fatalf("got %d roles, want those of the webhook and the enforcer at least", len(roles))
			}
			for _, role := range roles {
				for _, rule := range role.Rules {
					words := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs)
					for _, forbidden := range []string{"*", "escalate", "bind", "impersonate"} {
						if slices.Contains(words, forbidden) {
							t.Errorf("role %s: %q in %+v", role.Name, forbidden, rule)
						}
					}
				}
			}
		})
	}
}
