// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// lab is a node with pods, a control plane beside it, and traffic.
type lab struct {
	config     config
	dir        string
	progress   io.Writer
	plane      *cluster.ControlPlane
	api        kubernetes.Interface // as administrator
	wire       *wire                // between the enforcer and the API server
	kubeconfig string               // the enforcer's, over the wire
	enforcer   *enforcer
	tally      *tally
	paused     atomic.Bool // nothing is sent

	mu    sync.Mutex
	edges []*edge // by number
	pods  map[string]*pod
	names int // that were given

	populated bool
}

// inLab runs do in a new laboratory, with the enforcer ready and traffic going.
func inLab(ctx context.Context, c config, progress io.Writer, do func(context.Context, *lab) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "bulkhead-endurance-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.cleanUp(dir)) }()
	l := &lab{config: c, dir: dir, progress: progress, tally: &tally{begun: time.Now()}, pods: make(map[string]*pod)}
	l.enforcer = &enforcer{lab: l}
	if l.plane, err = cluster.Start(ctx, cluster.Options{Log: progress}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.plane.Stop()) }()
	if err := l.connect(ctx); err != nil {
		return err
	}
	defer l.wire.close()
	if err := l.furnish(ctx); err != nil {
		return err
	}
	defer l.closePods()
	if err := l.enforcer.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.enforcer.end(0)) }()
	if err := l.beginTraffic(ctx); err != nil {
		return err
	}
	defer cancel() // before pods are closed: what breaks then is not counted
	return do(ctx, l)
}

// cleanUp removes the directory, in which the enforcer has mounted a BPF file system.
func (c *config) cleanUp(dir string) error {
	if err := unix.Unmount(filepath.Join(dir, "bpf"), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount the enforcer's BPF file system: %w", err)
	}
	if c.keep {
		return nil
	}
	return os.RemoveAll(dir)
}

func (l *lab) connect(ctx context.Context) error {
	admin := l.plane.Admin()
	var err error
	if l.api, err = kubernetes.NewForConfig(admin); err != nil {
		return err
	}
	if l.wire, err = newWire(strings.TrimPrefix(admin.Host, "https://")); err != nil {
		return err
	}
	direct, err := l.plane.Kubeconfig(baseline.ServiceAccountUser(baseline.EnforcerServiceAccount))
	if err != nil {
		return err
	}
	config, err := clientcmd.LoadFromFile(direct)
	if err != nil {
		return err
	}
	for _, c := range config.Clusters {
		c.Server = "https://" + l.wire.listener.Addr().String()
	}
	l.kubeconfig = filepath.Join(l.dir, "enforcer.kubeconfig")
	if err := clientcmd.WriteToFile(*config, l.kubeconfig); err != nil {
		return err
	}
	return l.applyRole(ctx)
}

// furnish makes namespaces, policies and pods.
func (l *lab) furnish(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	node, err := l.api.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err == nil {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.31.0.1"}}
		_, err = l.api.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	}
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns.name, Labels: map[string]string{baseline.LabelMode: ns.mode}}}
		if _, err := l.api.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return err
		}
		for _, policy := range ns.policies {
			if err := l.createPolicy(ctx, ns.name, policy.DeepCopy()); err != nil {
				return err
			}
		}
		for i := range ns.pods {
			if _, err := l.startPod(ctx, ns.name, fmt.Sprintf("%s%d", ns.pod, i), map[string]string{"app": ns.pod, "team": team(i)}); err != nil {
				return err
			}
		}
	}
	return l.matrix()
}

// startPod makes a pod with the next address and tells the API server of it.
func (l *lab) startPod(ctx context.Context, namespace, name string, labels map[string]string) (*pod, error) {
	p, err := l.openPod(namespace, name, labels, l.hostIf(), l.nextAddrs()...)
	if err != nil {
		return nil, err
	}
	return p, l.announce(ctx, p)
}

// hostIf names the node's end of a pod's link.
func (l *lab) hostIf() string { return fmt.Sprintf("veth%d", l.next()) }

// nextAddrs are a pod's: of IPv4 and IPv6.
func (l *lab) nextAddrs() []string {
	n := l.next()
	return []string{fmt.Sprintf("10.99.%d.%d", 10+n/200, 10+n%200), fmt.Sprintf("fd99::%x:%x", 10+n/200, 10+n%200)}
}

// next counts.
func (l *lab) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names++
	return l.names
}

// announce makes the pod's object.
func (l *lab) announce(ctx context.Context, p *pod) error {
	_, name, _ := strings.Cut(p.name, "/")
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.namespace, Labels: p.labels},
		Spec:       corev1.PodSpec{NodeName: nodeName, Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}
	pods := l.api.CoreV1().Pods(p.namespace)
	object, err := pods.Create(ctx, object, metav1.CreateOptions{})
	if err == nil {
		object.Status.Phase, object.Status.PodIP = corev1.PodRunning, p.Addrs[0].String()
		for _, a := range p.Addrs {
			object.Status.PodIPs = append(object.Status.PodIPs, corev1.PodIP{IP: a.String()})
		}
		_, err = pods.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("tell the API server of pod %s: %w", p.name, err)
	}
	return nil
}

// withdraw deletes the pod's object.
func (l *lab) withdraw(ctx context.Context, p *pod) error {
	_, name, _ := strings.Cut(p.name, "/")
	now := int64(0)
	return l.api.CoreV1().Pods(p.namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
}

func (l *lab) closePods() {
	l.mu.Lock()
	pods := slices.Collect(maps.Values(l.pods))
	l.mu.Unlock()
	for _, p := range pods {
		p.close()
	}
}

// add makes an edge, over which packets are sent from now on.
func (l *lab) add(from, to *pod, f flavour, six bool, port uint16, want verdict) *edge {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &edge{id: uint32(len(l.edges)), from: from, to: to, addr: addrPort(to, six, port), flavour: f, tally: l.tally, pending: make(map[uint64]sent)}
	e.expect(want)
	l.edges = append(l.edges, e)
	begin := append(append([]*edge{}, *from.edges.Load()...), e)
	from.edges.Store(&begin)
	return e
}

// forget ends what is sent over edges.
func (l *lab) forget(edges []*edge) {
	gone := make(map[*edge]bool)
	for _, e := range edges {
		e.expect(either)
		gone[e] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range gone {
		rest := slices.DeleteFunc(slices.Clone(*e.from.edges.Load()), func(e *edge) bool { return gone[e] })
		e.from.edges.Store(&rest)
	}
}

func (l *lab) edge(id uint32) *edge {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int(id) >= len(l.edges) {
		return nil
	}
	return l.edges[id]
}

// beginTraffic opens what is long-lived, and begins to count.
func (l *lab) beginTraffic(ctx context.Context) error {
	for _, e := range l.edges {
		if e.flavour == session {
			if err := e.talk(ctx); err != nil {
				return err
			}
		}
	}
	for _, s := range l.streams() {
		go s.run(ctx)
	}
	go func() {
		for tick := time.NewTicker(100 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			l.sweep()
		}
	}()
	return nil
}

func (l *lab) sweep() {
	now := time.Now()
	for _, e := range l.allEdges() {
		e.sweep(now)
	}
}

func (l *lab) allEdges() []*edge {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edges
}

// settle returns when all that was sent until now has arrived, or is missed.
func (l *lab) settle(ctx context.Context) error {
	now := time.Now()
	pause(ctx, settling) // what must not arrive needs no longer, if it does
	return poll(ctx, "what was sent has arrived", 2*missing, func() error {
		if slices.ContainsFunc(l.allEdges(), func(e *edge) bool { return e.isAwaited(now) }) {
			return errors.New("something is on its way")
		}
		return nil
	})
}

// errFinal ends a poll.
var errFinal = errors.New("it cannot come any more")

// poll returns when done does without an error; what it waits for is in the error otherwise.
func poll(ctx context.Context, what string, within time.Duration, done func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := done()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, errFinal) || time.Now().After(deadline) {
			return fmt.Errorf("wait until %s: %w", what, errors.Join(err, ctx.Err()))
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
