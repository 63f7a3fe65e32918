// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// outage is a time at which the API server does not answer, and after which it does not know any more what there was.
type outage struct{ began, ended chan struct{} }

func (o outage) wait(ctx context.Context) error {
	select {
	case <-o.began:
	default:
		return nil
	}
	select {
	case <-o.ended:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// of lets a source have the outage.
func (o outage) of(from source) source {
	list, begin := from.list, from.watch
	from.list = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		if err := o.wait(ctx); err != nil {
			return nil, err
		}
		return list(ctx, options)
	}
	from.watch = func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		if err := o.wait(ctx); err != nil {
			return nil, err
		}
		w, err := begin(ctx, options)
		if err != nil {
			return nil, err
		}
		return o.cut(ctx, w), nil
	}
	return from
}

// cut ends a watch when the outage begins.
func (o outage) cut(ctx context.Context, from watch.Interface) watch.Interface {
	began := o.began
	select {
	case <-o.ended:
		began = nil
	default:
	}
	events := make(chan watch.Event)
	to := watch.NewProxyWatcher(events)
	go func() {
		defer close(events)
		defer from.Stop()
		for {
			event, more := watch.Event{Type: watch.Error, Object: &apierrors.NewResourceExpired("too old").ErrStatus}, true
			select {
			case event, more = <-from.ResultChan():
			case <-began:
			case <-to.StopChan():
				return
			case <-ctx.Done():
				return
			}
			if !more {
				return
			}
			select {
			case events <- event:
			case <-to.StopChan():
				return
			}
		}
	}()
	return to
}

// kubelet starts and ends pods, and tells the API server of it late.
type kubelet struct {
	*testing.T
	*server
	admin kubernetes.Interface

	mu    sync.Mutex
	truth map[netip.Addr]string // destination, of which each record has its own → what the source is
}

// run runs a pod for some seconds, which says something now and then.
func (k *kubelet) run(random *rand.Rand, name string, addr netip.Addr) {
	job := k.job(name)
	start := metav1.Now()
	pods := k.admin.CoreV1().Pods("batch")
	created, err := pods.Create(k.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		k.Error(err)
		return
	}
	end := time.Now().Add(3*time.Second + time.Duration(random.Int64N(int64(4*time.Second))))
	lag := time.Duration(random.Int64N(int64(time.Second)))
	told := random.IntN(10) > 0
	for at := time.Now(); at.Before(end); at = time.Now() {
		if told && at.Sub(start.Time) > lag {
			k.tell(name, addr, corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: start}}, start)
			told = false
		}
		k.say(name, addr)
		time.Sleep(time.Duration(random.Int64N(int64(400 * time.Millisecond)))) // the pod has nothing to say meanwhile
	}
	if random.IntN(4) > 0 { // the others are deleted by force, and nobody tells of their end
		finished := metav1.Now()
		time.Sleep(lag) // as long as a kubelet takes to tell
		k.tell(name, addr, corev1.PodSucceeded, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: start, FinishedAt: finished}}, start)
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(created.UID))}
	err = errors.Join(pods.Delete(k.Context(), name, now), k.admin.BatchV1().Jobs("batch").Delete(k.Context(), job.Name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationOrphan)}))
	if err != nil {
		k.Error(err)
	}
}

func (k *kubelet) job(name string) *batchv1.Job {
	cron := metav1.OwnerReference{APIVersion: "batch/v1", Kind: "CronJob", Name: "of-" + name, UID: types.UID(name), Controller: new(true)}
	job, err := k.admin.BatchV1().Jobs("batch").Create(k.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{cron}},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		k.Error(err)
	}
	return job
}

func (k *kubelet) tell(name string, addr netip.Addr, phase corev1.PodPhase, state corev1.ContainerState, start metav1.Time) {
	patch, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: phase, StartTime: &start, PodIP: addr.String(), PodIPs: []corev1.PodIP{{IP: addr.String()}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Image: "i", State: state}},
	}})
	if err == nil {
		_, err = k.admin.CoreV1().Pods("batch").Patch(k.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		k.Error(err)
	}
}

// say has an observer see a connection of a pod, whose name it does not know.
func (k *kubelet) say(name string, addr netip.Addr) {
	k.mu.Lock()
	n := len(k.truth)
	to := netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
	k.truth[to] = "CronJob batch/of-" + name
	k.mu.Unlock()
	k.see(flows.Endpoint{Addr: addr}, to)
}

func (k *kubelet) see(from flows.Endpoint, to netip.Addr) {
	now := time.Now()
	k.seen.add("node-1", &flows.Record{
		Time: now, Oriented: true, Side: flows.Egress, Verdict: flows.Forwarded, Protocol: "TCP", DestinationPort: 443,
		Source: from, Destination: flows.Endpoint{Addr: to},
	}, now)
}

// TestWatch: pods that live and die between two inventories, and take over each other's addresses, are told apart by a real
// API server's watch with the chart's permissions, also when it is interrupted: no record is another pod's, or external.
func TestWatch(t *testing.T) {
	k := &kubelet{T: t, server: &server{cfg: Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, meter: newMeter()}, truth: map[netip.Addr]string{}}
	k.admin, k.client = connect(t)
	if _, err := k.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "batch"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.FromCluster(t.Context(), k.client)
	if err != nil {
		t.Fatal(err)
	}
	if k.seen, err = recall("", inv, k.meter); err != nil {
		t.Fatal(err)
	}
	down := outage{make(chan struct{}), make(chan struct{})}
	for _, from := range sources(k.client) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.watchKind(ctx, down.of(from))
		}()
		t.Cleanup(func() { cancel(); <-ended })
	}
	n := nodes{server: k.server}
	up := func() bool {
		return n.value(t, prefix+`watch_up{resource="pods"}`)+n.value(t, prefix+`watch_up{resource="services"}`)+n.value(t, prefix+`watch_up{resource="jobs"}`) == 3
	}
	n.until(t, "all is watched", up)

	service := k.brief()
	var pods sync.WaitGroup
	for slot := range 12 {
		pods.Go(func() {
			random := rand.New(rand.NewPCG(uint64(slot), 1))
			for turn := range 4 {
				addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(slot)})
				if slot%2 == 0 {
					addr = netip.AddrFrom4([4]byte{10, byte(slot), byte(turn), 1}) // nobody had it before
				}
				k.run(random, fmt.Sprintf("job-%d-%d", slot, turn), addr)
				time.Sleep(time.Second)
			}
		})
	}
	time.Sleep(8 * time.Second)
	close(down.began)
	n.until(t, "nothing is watched", func() bool { return n.value(t, prefix+`watch_up{resource="pods"}`) == 0 })
	time.Sleep(5 * time.Second)
	close(down.ended)
	pods.Wait()
	n.until(t, "all is watched again", up)

	later := time.Now().Add(time.Minute)
	k.seen.watched(func(tracker *inventory.Tracker, _ time.Time) {
		tracker.Beat(inventory.Pods, later)
		tracker.Beat(inventory.Services, later)
	})
	k.seen.use(inventory.At(later, nil))
	k.check(service)
	if n := n.value(t, prefix+"watch_restarts_total"); n != 2 {
		t.Errorf("the watches of pods and Services began anew %v times", n)
	}
}

// brief has a pod connect to a Service that is gone before the next inventory, and returns its address.
func (k *kubelet) brief() netip.Addr {
	services := k.admin.CoreV1().Services("batch")
	made, err := services.Create(k.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "brief"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}}, metav1.CreateOptions{})
	if err != nil {
		k.Fatal(err)
	}
	to := netip.MustParseAddr(made.Spec.ClusterIP)
	k.see(flows.Endpoint{Addr: netip.MustParseAddr("10.99.0.1"), Namespace: "batch", Pod: "client"}, to)
	if err := services.Delete(k.Context(), "brief", metav1.DeleteOptions{}); err != nil {
		k.Fatal(err)
	}
	return to
}

// check compares the edges with the truth.
func (k *kubelet) check(service netip.Addr) {
	edges, _, _ := k.seen.all(time.Now())
	right, unclear := 0, 0
	for _, e := range edges {
		switch {
		case e.To.Addr == service && e.To.Entity == inventory.EntityService:
		case e.From.Entity == inventory.EntityPodAddress:
			unclear++
		case e.From.String() == k.truth[e.To.Addr]:
			right++
		default:
			k.Errorf("%s; its source is %s", e.Key, k.truth[e.To.Addr])
		}
	}
	k.Logf("%d records: %d right, %d unclear", len(k.truth), right, unclear)
	if len(edges) != len(k.truth)+1 || right < len(k.truth)/10 {
		k.Errorf("%d edges of %d records, %d of them right and %d unclear", len(edges), len(k.truth)+1, right, unclear)
	}
}

// connect starts an API server, and returns a client that may do all, and one that may do what the chart says.
func connect(t *testing.T) (admin, ours kubernetes.Interface) {
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
	admin = kubernetes.NewForConfigOrDie(plane.Admin())
	grant(t, admin)
	file, err := plane.Kubeconfig(baseline.ServiceAccountUser(baseline.GeneratorServiceAccount))
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	return admin, kubernetes.NewForConfigOrDie(config)
}

func grant(t *testing.T, admin kubernetes.Interface) {
	t.Helper()
	data, err := os.ReadFile("../../../charts/bulkhead/rbac/generator.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var (
		role    rbacv1.ClusterRole
		binding rbacv1.ClusterRoleBinding
	)
	first, second, _ := strings.Cut(string(data), "\n---\n")
	err = errors.Join(yaml.UnmarshalStrict([]byte(first), &role), yaml.UnmarshalStrict([]byte(second), &binding))
	if err == nil {
		_, err = admin.RbacV1().ClusterRoles().Create(t.Context(), &role, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &binding, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
