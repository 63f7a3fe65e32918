// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/apply"
	"github.com/bulkhead-dev/bulkhead/generator/internal/gittest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// site is a real API server, our identity in it with the chart's permissions, and a repository.
type site struct {
	t           *testing.T
	admin, ours *kubernetes.Clientset
	repo        *repo.Repository
	clone       string
}

func newSite(t *testing.T) *site {
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
	s := &site{t: t, admin: kubernetes.NewForConfigOrDie(plane.Admin())}
	s.grant()
	file, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.GeneratorServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	s.ours = kubernetes.NewForConfigOrDie(config)
	if _, err := s.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bare := filepath.Join(dir, "p.git")
	s.clone = filepath.Join(dir, "clone")
	s.git("", "init", "-q", "--bare", "-b", "main", bare)
	s.git("", "clone", "-q", bare, s.clone)
	s.git(s.clone, "checkout", "-q", "-b", "main")
	s.git(s.clone, "commit", "-q", "--allow-empty", "-m", "first")
	s.git(s.clone, "push", "-q", "origin", "HEAD")
	if s.repo, err = repo.Open(t.Context(), repo.Config{Location: bare, Base: "main"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// grant applies the chart's ClusterRole and binding, so that the test fails where a verb is missing.
func (s *site) grant() {
	s.t.Helper()
	data, err := os.ReadFile("../../../charts/bulkhead/rbac/generator.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	var (
		role    rbacv1.ClusterRole
		binding rbacv1.ClusterRoleBinding
	)
	first, second, _ := strings.Cut(string(data), "\n---\n")
	if err := errors.Join(yaml.UnmarshalStrict([]byte(first), &role), yaml.UnmarshalStrict([]byte(second), &binding)); err != nil {
		s.t.Fatal(err)
	}
	if role.Name != baseline.GeneratorServiceAccount {
		s.t.Fatalf("ClusterRole %q is not the generator's", role.Name)
	}
	if _, err := s.admin.RbacV1().ClusterRoles().Create(s.t.Context(), &role, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.admin.RbacV1().ClusterRoleBindings().Create(s.t.Context(), &binding, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) git(dir string, args ...string) string {
	s.t.Helper()
	return gittest.Run(s.t, dir, args...)
}

// approve makes files the whole content of shop's directory, and returns the commit.
func (s *site) approve(files tree.Files) string {
	s.t.Helper()
	dir := filepath.Join(s.clone, tree.Dir("prod", "shop"))
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		s.t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	s.git(s.clone, "add", "-A")
	s.git(s.clone, "commit", "-q", "-m", "approve")
	s.git(s.clone, "push", "-q", "origin", "HEAD")
	return s.git(s.clone, "rev-parse", "HEAD")
}

func (s *site) sync(dry bool) apply.Result {
	s.t.Helper()
	results, err := apply.SyncAll(s.t.Context(), s.ours, s.repo, "prod", dry)
	if err != nil || len(results) != 1 {
		s.t.Fatalf("%+v, %v", results, err)
	}
	return results[0]
}

func (s *site) live(name string) *networkingv1.NetworkPolicy {
	s.t.Helper()
	p, err := s.admin.NetworkingV1().NetworkPolicies("shop").Get(s.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func files(resources string, extra ...string) tree.Files {
	out := tree.Files{"kustomization.yaml": []byte("namespace: shop\nresources: [" + resources + "]\n")}
	for i := 0; i < len(extra); i += 2 {
		out[extra[i]] = []byte(extra[i+1])
	}
	return out
}

func TestSyncAgainstARealAPIServer(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("the git program is needed to play the reviewer")
	}
	s := newSite(t)
	ctx := t.Context()

	if _, err := apply.SyncAll(ctx, s.ours, s.repo, "prod", false); !errors.Is(err, apply.ErrNothingApproved) {
		t.Fatalf("an empty repository: %v", err)
	}
	if _, err := inventory.FromCluster(ctx, s.ours); err != nil {
		t.Fatalf("the chart's permissions do not allow the inventory: %v", err)
	}

	second := strings.Replace(policy, "name: api", "name: web", 1)
	deny, err := yaml.Marshal(baseline.DefaultDeny("shop"))
	if err != nil {
		t.Fatal(err)
	}
	first := s.approve(files("baseline.yaml,api.yaml,web.yaml", "baseline.yaml", string(deny), "api.yaml", policy, "web.yaml", second))

	if r := s.sync(true); len(r.Applied) != 3 || s.live("api") != nil {
		t.Fatalf("a dry run applied something, or did not say what: %+v", r)
	}
	if r := s.sync(false); len(r.Applied) != 3 || len(r.Drift) != 0 {
		t.Fatalf("%+v", r)
	}
	got := s.live("api")
	if got.Labels[baseline.LabelManagedBy] != baseline.ManagedByGitOps || got.Annotations[baseline.AnnotationApprovedCommit] != first {
		t.Errorf("labels %v, annotations %v", got.Labels, got.Annotations)
	}
	if i := slices.IndexFunc(got.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == apply.FieldManager && e.Operation == metav1.ManagedFieldsOperationApply
	}); i < 0 {
		t.Errorf("not applied by %s: %v", apply.FieldManager, got.ManagedFields)
	}
	if l := s.live(baseline.DefaultDenyName).Labels[baseline.LabelManagedBy]; l != baseline.ManagedByOnboarding {
		t.Errorf("the baseline is managed by %q", l)
	}
	version := got.ResourceVersion
	if r := s.sync(false); len(r.Applied) != 0 || len(r.Unchanged) != 3 || s.live("api").ResourceVersion != version {
		t.Errorf("a second sync wrote something: %+v", r)
	}

	s.driftIsFoundAndSetRight(ctx)
	s.changeInGitIsNoDrift(second)
	s.baselineOfOnboardingIsLeftAlone(ctx)
}

func (s *site) driftIsFoundAndSetRight(ctx context.Context) {
	p := s.live("api")
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}} // everyone may enter
	if _, err := s.admin.NetworkingV1().NetworkPolicies("shop").Update(ctx, p, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
		s.t.Fatal(err)
	}
	if err := s.admin.NetworkingV1().NetworkPolicies("shop").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	r := s.sync(false)
	var found []string
	for _, d := range r.Drift {
		found = append(found, fmt.Sprint(d.Policy, " ", d.What, " ", d.By))
	}
	if want := []string{"shop/api changed kubectl-edit", "shop/web deleted "}; !slices.Equal(found, want) {
		s.t.Errorf("drift %q, want %q", found, want)
	}
	if p := s.live("api"); len(p.Spec.Ingress) != 1 || len(p.Spec.Ingress[0].From) != 1 || s.live("web") == nil {
		s.t.Errorf("drift was not set right: %+v", p.Spec)
	}
	if r := s.sync(false); len(r.Drift)+len(r.Applied) != 0 {
		s.t.Errorf("drift again: %+v", r)
	}
}

func (s *site) changeInGitIsNoDrift(web string) {
	foreign := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: "shop"}}
	if _, err := s.admin.NetworkingV1().NetworkPolicies("shop").Create(s.t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	second := s.approve(files("web.yaml", "web.yaml", strings.Replace(web, "3000", "3001", 1)))
	r := s.sync(false)
	if len(r.Drift) != 0 || !slices.Equal(r.Pruned, []string{"api"}) || !slices.Equal(r.Applied, []string{"web"}) {
		s.t.Errorf("%+v", r)
	}
	if s.live("api") != nil || s.live("foreign") == nil || s.live(baseline.DefaultDenyName) == nil {
		s.t.Error("pruned the wrong ones")
	}
	if p := s.live("web"); p.Spec.Ingress[0].Ports[0].Port.IntVal != 3001 || p.Annotations[baseline.AnnotationApprovedCommit] != second {
		s.t.Errorf("%+v", p)
	}
}

func (s *site) baselineOfOnboardingIsLeftAlone(ctx context.Context) {
	deny := baseline.DefaultDeny("shop")
	same, err := yaml.Marshal(deny)
	if err != nil {
		s.t.Fatal(err)
	}
	s.approve(files("b.yaml", "b.yaml", string(same)))
	version := s.live(baseline.DefaultDenyName).ResourceVersion
	if r := s.sync(false); !slices.Contains(r.Unchanged, deny.Name) || len(r.Drift) != 0 {
		s.t.Errorf("%+v", r)
	}
	weaker := strings.Replace(string(same), "  - Egress\n", "", 1)
	s.approve(files("b.yaml", "b.yaml", weaker))
	if r := s.sync(false); len(r.Drift) != 1 || r.Drift[0].What != "not-baseline" || len(r.Applied) != 0 {
		s.t.Errorf("%+v", r)
	}
	if s.live(deny.Name).ResourceVersion != version {
		s.t.Error("sync wrote to the baseline that onboarding keeps")
	}
	broken := strings.Replace(weaker, "kind: NetworkPolicy", "kind: ConfigMap", 1)
	s.approve(files("b.yaml", "b.yaml", broken))
	if results, err := apply.SyncAll(ctx, s.ours, s.repo, "prod", false); err == nil || results[0].Error == "" {
		s.t.Errorf("a ConfigMap was synced: %+v", results)
	}
}
