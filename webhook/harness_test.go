// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

// within bounds every wait; it is far more than anything takes.
const within = 30 * time.Second

var (
	plane *cluster.ControlPlane
	admin client.Client // system:masters
)

// asProgram in the environment makes the test binary the program itself, for tests that kill it.
const asProgram = "BULKHEAD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	var err error
	if plane, err = cluster.Start(context.Background(), cluster.Options{Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := plane.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if err := prepare(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// prepare makes what the Helm chart makes: the namespace, the custom resources and the permissions.
func prepare(ctx context.Context) error {
	var err error
	if admin, err = client.New(plane.Admin(), client.Options{Scheme: scheme}); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: baseline.ProjectNamespace}}
	if err := admin.Create(ctx, namespace); err != nil {
		return err
	}
	if err := register.ApplyCRDs(ctx, admin); err != nil {
		return err
	}
	source, err := os.ReadFile("../charts/bulkhead/rbac/webhook.yaml")
	if err != nil {
		return err
	}
	var rendered bytes.Buffer
	parsed := template.Must(template.New("rbac").Parse(string(source)))
	if err := parsed.Execute(&rendered, map[string]any{"Release": map[string]any{"Namespace": baseline.ProjectNamespace}}); err != nil {
		return err
	}
	for document := range strings.SplitSeq(rendered.String(), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(document), &object.Object); err != nil {
			return err
		}
		if err := admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bulkhead-webhook-register"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bulkhead-webhook-register"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: baseline.ProjectNamespace, Name: baseline.WebhookServiceAccount}},
	})
}

// process is a running bulkhead-webhook.
type process struct {
	listen, health, metrics string
	logs                    *logBuffer
	cancel                  context.CancelFunc
	done                    chan struct{}
	err                     error // after done
}

// start runs the whole program, registered by URL, as launch does.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	address := freeAddress(t)
	p := launch(t, append([]string{"--webhook-url", "https://" + address}, args...)...)
	p.listen = address
	eventually(t, "the API server calls the webhook", func() error {
		ns := newNamespace("called", nil)
		err := admin.Create(t.Context(), ns, client.DryRunAll)
		if err == nil && ns.Labels[baseline.LabelMode] == "" || err != nil && !strings.Contains(err.Error(), "bulkhead.dev") {
			return fmt.Errorf("a namespace gets labels %v: %w", ns.Labels, err)
		}
		return nil
	})
	return p
}

// launch runs the whole program, as begin does, and returns when /readyz says so.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := begin(t, args...)
	eventually(t, "readiness", func() error {
		select {
		case <-p.done:
			t.Fatalf("ended: %v\n%s", p.err, p.logs)
		default:
		}
		return get("http://" + p.health + "/readyz")
	})
	return p
}

// begin runs the whole program as its service account until the test ends or stop is called.
func begin(t testing.TB, args ...string) *process {
	t.Helper()
	kubeconfig, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{health: freeAddress(t), metrics: freeAddress(t), logs: &logBuffer{}, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	args = append([]string{
		"--kubeconfig", kubeconfig, "--health-addr", p.health, "--metrics-addr", p.metrics, "--drain", "100ms",
	}, args...)
	go func() {
		defer close(p.done)
		p.err = run(ctx, args, p.logs, p.logs)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends the program as SIGTERM does, and fails the test if it does not end in order.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.cancel()
	select {
	case <-p.done:
		if p.err != nil {
			t.Errorf("bulkhead-webhook: %v\n%s", p.err, p.logs)
		}
	case <-time.After(within):
		t.Fatalf("bulkhead-webhook did not stop\n%s", p.logs)
	}
	if t.Failed() {
		t.Logf("%s", p.logs)
	}
}

func get(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, response.Status, &body)
	}
	return nil
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// eventually polls until check returns nil.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// logBuffer takes the logs of goroutines that outlive a step of a test.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newNamespace(name string, labels map[string]string) *corev1.Namespace {
	all := map[string]string{baseline.LabelOwner: "team-shop"}
	for key, value := range labels {
		all[key] = value
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}}
}

func newPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "pod-"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "example.com/image"}}},
	}
}

func createNamespace(t testing.TB, namespace *corev1.Namespace) *corev1.Namespace {
	t.Helper()
	if err := admin.Create(t.Context(), namespace); err != nil {
		t.Fatalf("create namespace %s: %v", namespace.Name, err)
	}
	return namespace
}

// policies returns nil when both baseline policies exist in the namespace with the right content.
func policies(ctx context.Context, namespace string) error {
	var list networkingv1.NetworkPolicyList
	if err := admin.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{
		baseline.LabelManagedBy: baseline.ManagedByOnboarding,
	}); err != nil {
		return err
	}
	found := map[string]networkingv1.NetworkPolicySpec{}
	for _, policy := range list.Items {
		found[policy.Name] = policy.Spec
	}
	deny, dns := found[baseline.DefaultDenyName], found[baseline.AllowDNSName]
	if len(found) != 2 || len(deny.PolicyTypes) != 2 || len(deny.Ingress)+len(deny.Egress) != 0 || len(dns.Egress) == 0 {
		return fmt.Errorf("policies of %s: %+v", namespace, found)
	}
	return nil
}

// none returns nil when the namespace has no NetworkPolicy at all.
func none(ctx context.Context, namespace string) error {
	var list networkingv1.NetworkPolicyList
	if err := admin.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return err
	}
	if len(list.Items) > 0 {
		return fmt.Errorf("namespace %s has %d policies", namespace, len(list.Items))
	}
	return nil
}

// clientAs is a client of another user.
func clientAs(t testing.TB, user string, groups ...string) client.Client {
	t.Helper()
	path, err := plane.Kubeconfig(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// isRefusal: webhooks refuse with 403; the API server itself answers 422 where a parameter of an
// admission policy does not exist.
func isRefusal(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }

// refused fails the test unless err is a refusal that contains all texts.
func refused(t testing.TB, err error, texts ...string) {
	t.Helper()
	if !isRefusal(err) {
		t.Errorf("not refused: %v", err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("message lacks %q: %v", text, err)
		}
	}
}
