// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// release is an installed chart.
type release struct {
	plane      *cluster.ControlPlane
	admin      client.Client
	kubeconfig string // of the administrator
	values     string
}

// TestInstall installs the chart, runs the programs with the rendered arguments as the service
// accounts that the chart gives them, upgrades and uninstalls it. Whether a program has the rights
// that it needs shows here, and nowhere else.
func TestInstall(t *testing.T) {
	r := newRelease(t, "everything")
	namespace := map[string]string{baseline.LabelMode: baseline.Audit.String()}
	if err := createNamespace(r.admin, "shop", namespace); err != nil {
		t.Fatal(err)
	}
	r.helm(t, "install", "--create-namespace", "--values", r.values)
	t.Run("webhook", r.webhook)
	r.helm(t, "upgrade", "--values", r.values)
	t.Run("upgrade", r.stillTrusted)
	t.Run("generator", r.generator)
	// The webhook took its objects away again. The one that it left was applied by it, too.
	r.helm(t, "upgrade", "--values", r.values, "--force-conflicts")
	r.helm(t, "uninstall")
	t.Run("uninstall", r.nothingLeft)
	r.helm(t, "install", "--values", r.values)
}

func newRelease(t *testing.T, values string) *release {
	t.Helper()
	plane, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := plane.Kubeconfig("installer", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(plane.Admin(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &release{plane: plane, admin: c, kubeconfig: kubeconfig, values: variants(t)[values]}
}

func (r *release) helm(t *testing.T, command string, args ...string) {
	t.Helper()
	if _, err := helm(t, command, append(args, "--kubeconfig", r.kubeconfig)...); err != nil {
		t.Fatal(err)
	}
}

func (r *release) webhook(t *testing.T) {
	health, metrics := freeAddress(t), freeAddress(t)
	r.run(t, "bulkhead-webhook", "--health-addr="+health, "--metrics-addr="+metrics, "--listen="+freeAddress(t))
	eventually(t, "http://"+health+"/healthz", "ok")
	eventually(t, "http://"+health+"/readyz", "ok")
	eventually(t, "http://"+metrics+"/metrics", "bulkhead_")
	r.hasPolicy(t, baseline.DefaultDenyName)
	r.hasPolicy(t, baseline.AllowDNSName)
}

// stillTrusted checks that an upgrade leaves what the webhook wrote.
func (r *release) stillTrusted(t *testing.T) {
	config := &admissionregv1.ValidatingWebhookConfiguration{}
	if err := r.admin.Get(t.Context(), types.NamespacedName{Name: "bulkhead-webhook"}, config); err != nil {
		t.Fatal(err)
	}
	for _, webhook := range config.Webhooks {
		if len(webhook.ClientConfig.CABundle) == 0 {
			t.Errorf("webhook %s lost its caBundle in an upgrade", webhook.Name)
		}
	}
}

// generator syncs a policy from Git. Writing it takes an answer of the webhook, which the API server
// can reach by URL only where there are no pods, so it registers itself.
func (r *release) generator(t *testing.T) {
	emergencyOff := exec.CommandContext(t.Context(), filepath.Join(binaries, "bulkhead-webhook"), "emergency-off", "--kubeconfig="+r.kubeconfig)
	if out, err := emergencyOff.CombinedOutput(); err != nil {
		t.Fatalf("emergency-off: %v\n%s", err, out)
	}
	r.allowRegistering(t)
	health := freeAddress(t)
	r.run(t, "bulkhead-webhook", "--health-addr="+health, "--metrics-addr=0", "--listen=", "--webhook-url=https://"+freeAddress(t))
	eventually(t, "http://"+health+"/readyz", "ok")

	listen := freeAddress(t)
	r.run(t, "bulkhead-generator", "--listen="+listen, "--repo="+approved(t), "--observe-for=0s", "--propose-every=1s")
	eventually(t, "http://"+listen+"/healthz", "ok")
	eventually(t, "http://"+listen+"/metrics", "bulkhead_")
	r.hasPolicy(t, "api")
}

// allowRegistering binds the role that the chart has for it.
func (r *release) allowRegistering(t *testing.T) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "register"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bulkhead-webhook-register"},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: baseline.ProjectNamespace, Name: baseline.WebhookServiceAccount,
		}},
	}
	if err := r.admin.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
}

// approved is a Git repository that has one policy for the namespace shop.
func approved(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	repository, err := git.PlainInitWithOptions(dir, &git.PlainInitOptions{
		InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName("trunk")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/approved")); err != nil {
		t.Fatal(err)
	}
	worktree, err := repository.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if err := worktree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	who := &object.Signature{Name: "Reviewer", Email: "reviewer@example.com", When: time.Now()}
	if _, err := worktree.Commit("Approve the policy of api", &git.CommitOptions{Author: who}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (r *release) hasPolicy(t *testing.T, name string) {
	t.Helper()
	poll(t, "NetworkPolicy shop/"+name, func(ctx context.Context) error {
		return r.admin.Get(ctx, types.NamespacedName{Namespace: "shop", Name: name}, &networkingv1.NetworkPolicy{})
	})
}

// nothingLeft checks that an uninstalled release can refuse nothing, allows nobody anything and serves no view
// of what is no more. What the chart keeps on purpose is marked so.
func (r *release) nothingLeft(t *testing.T) {
	admission := schema.GroupVersion{Group: "admissionregistration.k8s.io", Version: "v1"}
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	resources := schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}
	kept := map[string]bool{
		"bulkhead-params-anchor": true, // matches nothing; its file says why it stays
		"profiles.bulkhead.dev":  true, // else the profiles that people wrote would go
	}
	var left []string
	kinds := []schema.GroupVersionKind{
		admission.WithKind("ValidatingWebhookConfigurationList"), admission.WithKind("MutatingWebhookConfigurationList"),
		admission.WithKind("ValidatingAdmissionPolicyList"), admission.WithKind("ValidatingAdmissionPolicyBindingList"),
		rbac.WithKind("ClusterRoleList"), rbac.WithKind("ClusterRoleBindingList"), rbac.WithKind("RoleList"), rbac.WithKind("RoleBindingList"),
		resources.WithKind("CustomResourceDefinitionList"),
	}
	// The API server deletes the objects of a kind before its definition, after Helm has gone.
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		left = nil
		for _, kind := range kinds {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(kind)
			if err := r.admin.List(ctx, list, client.MatchingLabels{"app.kubernetes.io/part-of": "bulkhead"}); err != nil {
				return false, err
			}
			for _, object := range list.Items {
				if !kept[object.GetName()] {
					left = append(left, object.GetKind()+" "+object.GetName())
				}
			}
		}
		return len(left) == 0, nil
	})
	if err != nil {
		t.Errorf("left after helm uninstall: %q, %v", left, err)
	}
}
