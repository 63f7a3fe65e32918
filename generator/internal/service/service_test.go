// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/gittest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/service"
	"github.com/bulkhead-dev/bulkhead/generator/internal/store"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// TestLoop lets the service run against a real API server, a real Git repository and an observer: it
// proposes what it sees, a reviewer merges it, and it is applied.
func TestLoop(t *testing.T) {
	plane, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	client := kubernetes.NewForConfigOrDie(plane.Admin())
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web", "api"} {
		deploy(t, client, name)
	}
	dir := t.TempDir()
	bare, clone := filepath.Join(dir, "p.git"), filepath.Join(dir, "clone")
	gittest.Run(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	gittest.Run(t, dir, "clone", "-q", bare, clone)
	gittest.Run(t, clone, "checkout", "-q", "-b", "main")
	gittest.Run(t, clone, "commit", "-q", "--allow-empty", "-m", "first")
	gittest.Run(t, clone, "push", "-q", "origin", "HEAD")
	repository, err := repo.Open(t.Context(), repo.Config{Location: bare, Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	listener := flowstest.Listen(t, "127.0.0.1:0")
	cfg := service.Config{
		Observers:    []string{flowstest.Serve(t, flowstest.Flow("a"), flowstest.Lost(3), flowstest.Flow("b"), flowstest.Flow("b"))},
		Proposal:     proposal.Input{Cluster: "prod", MaxLoss: 1, DNS: proposal.DNS{NodeLocal: []netip.Addr{netip.MustParseAddr("169.254.20.10")}}},
		ProposeEvery: 200 * time.Millisecond, SyncEvery: 200 * time.Millisecond, ObserveFor: time.Second,
		State: filepath.Join(dir, "edges.db"), Retention: store.MaxRetention, BodyDir: dir, Listener: listener,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, cfg, client, repository) }()

	const branch = "bulkhead/prod/shop"
	until(t, "the proposal is committed", func() bool { return gittest.Run(t, bare, "branch", "--list", branch) != "" })
	if got := gittest.Run(t, bare, "show", branch+":clusters/prod/shop/evidence.json"); !strings.Contains(got, `"flows":2`) || !strings.Contains(got, `"lost": 3`) {
		t.Errorf("evidence is\n%s", got)
	}
	until(t, "the pull request's text is written", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "shop.md"))
		return err == nil && strings.Contains(string(text), "## Risks") && strings.Contains(string(text), "--dns-node-local 169.254.20.10 --cluster prod")
	})
	gittest.Run(t, clone, "fetch", "-q")
	gittest.Run(t, clone, "merge", "-q", "--no-ff", "-m", "approved", "origin/"+branch)
	gittest.Run(t, clone, "push", "-q", "origin", "main")
	approved := strings.TrimSpace(gittest.Run(t, clone, "rev-parse", "HEAD"))
	until(t, "the approved policy is applied", func() bool {
		p, err := client.NetworkingV1().NetworkPolicies("shop").Get(t.Context(), "api", metav1.GetOptions{})
		return err == nil && p.Annotations[baseline.AnnotationApprovedCommit] == approved
	})
	until(t, "it is ready", func() bool { return strings.Contains(get("http://"+listener.Addr().String()+"/readyz"), "ok") })
	metrics := ""
	until(t, "the sync and the edges are counted, which comes after them", func() bool {
		metrics = get("http://" + listener.Addr().String() + "/metrics")
		return strings.Contains(metrics, `synced_policies_total{action="applied"}`) && strings.Contains(metrics, "state_changes_total 1")
	})
	for _, want := range []string{"bulkhead_generator_flows_total 3", "bulkhead_generator_flows_lost_total 3", "bulkhead_generator_edges 1", "bulkhead_generator_edges_left_out 0", `bulkhead_generator_state_commits_total{result="ok"} `, `bulkhead_generator_proposals_total{result="committed"} 1`, `bulkhead_generator_synced_policies_total{action="applied"} 4`, `bulkhead_generator_observer_up{address="` + cfg.Observers[0]} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q:\n%s", want, metrics)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if edges := kept(t, cfg.State); len(edges) != 1 || edges[0].From.Name != "web" {
		t.Errorf("the state has the edges %v", edges)
	}
	// Started again with a damaged state, it refuses rather than forget what it saw.
	if err := os.WriteFile(cfg.State, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context(), cfg, client, repository); err == nil || !strings.Contains(err.Error(), cfg.State) {
		t.Errorf("a damaged state file: %v", err)
	}
}

// kept are the edges of a state file.
func kept(t *testing.T, file string) []edge.Edge {
	t.Helper()
	s, err := store.Open(file, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	edges, _ := s.Edges()
	return edges
}

func deploy(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	labels := map[string]string{"app": name}
	_, err := client.AppsV1().Deployments("shop").Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

func get(url string) string {
	response, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
