// SPDX-License-Identifier: Apache-2.0

package service_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/cilium/api/v1/flow"
	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/service"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// hubble serves the Observer API with a fixed list of responses, as an observer that has seen no more.
type hubble struct {
	observer.UnimplementedObserverServer
	responses []*observer.GetFlowsResponse
}

func (h *hubble) ServerStatus(context.Context, *observer.ServerStatusRequest) (*observer.ServerStatusResponse, error) {
	return &observer.ServerStatusResponse{NumFlows: uint64(len(h.responses))}, nil
}

func (h *hubble) GetFlows(req *observer.GetFlowsRequest, stream observer.Observer_GetFlowsServer) error {
	for _, r := range h.responses {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	if req.GetFollow() {
		<-stream.Context().Done()
	}
	return nil
}

func serveHubble(t *testing.T, responses ...*observer.GetFlowsResponse) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	observer.RegisterObserverServer(server, &hubble{responses: responses})
	go func() {
		if err := server.Serve(listener); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func end(workload string) *flow.Endpoint {
	return &flow.Endpoint{Namespace: "shop", PodName: workload + "-1", Workloads: []*flow.Workload{{Kind: "Deployment", Name: workload}}}
}

func response(id string) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{NodeName: "node-1", ResponseTypes: &observer.GetFlowsResponse_Flow{Flow: &flow.Flow{
		Time: timestamppb.Now(), Uuid: id, Verdict: flow.Verdict_AUDIT, Type: flow.FlowType_L3_L4,
		IP:     &flow.IP{Source: "10.0.0.1", Destination: "10.0.0.2"},
		L4:     &flow.Layer4{Protocol: &flow.Layer4_TCP{TCP: &flow.TCP{SourcePort: 40000, DestinationPort: 3000}}},
		Source: end("web"), Destination: end("api"), TrafficDirection: flow.TrafficDirection_EGRESS, IsReply: wrapperspb.Bool(false),
	}}}
}

func lost(n uint64) *observer.GetFlowsResponse {
	return &observer.GetFlowsResponse{ResponseTypes: &observer.GetFlowsResponse_LostEvents{LostEvents: &flow.LostEvent{NumEventsLost: n}}}
}

func TestObserve(t *testing.T) {
	addr := serveHubble(t, response("a"), lost(7), response("b"))
	var stats flows.Stats
	ids := map[uint64]bool{}
	err := flows.Observe(t.Context(), addr, flows.Query{}, &stats, func(r *flows.Record) error {
		ids[r.ID] = true
		return nil
	})
	if err != nil || stats.Flows != 2 || stats.Lost != 7 || len(ids) != 2 {
		t.Errorf("%+v, %d ids, %v", stats, len(ids), err)
	}
	stop := errors.New("enough")
	if err := flows.Observe(t.Context(), addr, flows.Query{}, &stats, func(*flows.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the consumer's error became %v", err)
	}
}

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
	git(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	git(t, dir, "clone", "-q", bare, clone)
	git(t, clone, "checkout", "-q", "-b", "main")
	git(t, clone, "commit", "-q", "--allow-empty", "-m", "first")
	git(t, clone, "push", "-q", "origin", "HEAD")
	repository, err := repo.Open(t.Context(), repo.Config{Location: bare, Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	listen := freeAddress(t)
	cfg := service.Config{
		Observers: []string{serveHubble(t, response("a"), lost(3), response("b"), response("b"))},
		Cluster:   "prod", DNS: "kube-system/kube-dns",
		ProposeEvery: 200 * time.Millisecond, SyncEvery: 200 * time.Millisecond, ObserveFor: time.Second,
		State: filepath.Join(dir, "edges.json"), BodyDir: dir, Listen: listen,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, cfg, client, repository) }()

	const branch = "bulkhead/prod/shop"
	until(t, "the proposal is committed", func() bool { return git(t, bare, "branch", "--list", branch) != "" })
	if got := git(t, bare, "show", branch+":clusters/prod/shop/evidence.json"); !strings.Contains(got, `"flows": 2`) || !strings.Contains(got, `"lost": 3`) {
		t.Errorf("evidence is\n%s", got)
	}
	until(t, "the pull request's text is written", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "shop.md"))
		return err == nil && strings.Contains(string(text), "## Risks")
	})
	git(t, clone, "fetch", "-q")
	git(t, clone, "merge", "-q", "--no-ff", "-m", "approved", "origin/"+branch)
	git(t, clone, "push", "-q", "origin", "main")
	approved := strings.TrimSpace(git(t, clone, "rev-parse", "HEAD"))
	until(t, "the approved policy is applied", func() bool {
		p, err := client.NetworkingV1().NetworkPolicies("shop").Get(t.Context(), "api", metav1.GetOptions{})
		return err == nil && p.Annotations[baseline.AnnotationApprovedCommit] == approved
	})
	until(t, "it is ready", func() bool { return strings.Contains(get("http://"+listen+"/readyz"), "ok") })
	metrics := get("http://" + listen + "/metrics")
	for _, want := range []string{"bulkhead_generator_flows_total 3", "bulkhead_generator_flows_lost_total 3", "bulkhead_generator_edges 1", `bulkhead_generator_proposals_total{result="committed"} 1`, `bulkhead_generator_synced_policies_total{action="applied"} 4`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q:\n%s", want, metrics)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if state, err := os.ReadFile(cfg.State); err != nil || !strings.Contains(string(state), `"web"`) {
		t.Errorf("state %.200s, %v", state, err)
	}
	// Started again with a damaged state, it refuses rather than forget what it saw.
	if err := os.WriteFile(cfg.State, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.Run(t.Context(), cfg, client, repository); err == nil || !strings.Contains(err.Error(), cfg.State) {
		t.Errorf("a damaged state file: %v", err)
	}
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

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Kim", "GIT_AUTHOR_EMAIL=k@example.com", "GIT_COMMITTER_NAME=Kim", "GIT_COMMITTER_EMAIL=k@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
