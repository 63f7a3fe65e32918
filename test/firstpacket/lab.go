// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// Namespaces of objects.yaml.
const (
	denied  = "denied"  // enforced, may nothing
	allowed = "allowed" // enforced, may reach the sinks and be reached from namespace open
	audited = "audited" // as denied, in mode audit
	watched = "watched" // as denied, in mode observe
	open    = "open"    // enforced, without policies
)

//go:embed objects.yaml
var objects []byte

// patience is how long anything may take that is not measured.
const patience = 3 * time.Minute

// lab is a cluster of one node with the namespaces, the policies and the sinks.
type lab struct {
	config
	cluster    *cluster.Cluster
	node       *cluster.Node
	client     kubernetes.Interface
	enforcer   *enforcer
	kubeconfig string
	dir        string // temporary
	sinks      []*sink
	inPod      func(func() error) error // runs a function in the network namespace of the pod in namespace open
	waves      int
	out        io.Writer
}

func newLab(ctx context.Context, c config, out io.Writer) (_ *lab, err error) {
	l := &lab{config: c, out: out}
	if l.dir, err = os.MkdirTemp("", "bulkhead-firstpacket-"); err != nil {
		return nil, err
	}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) prepare(ctx context.Context) (err error) {
	if err := os.MkdirAll(l.records(), 0o777); err != nil {
		return err
	}
	if err := os.MkdirAll(l.output, 0o755); err != nil {
		return err
	}
	sender := filepath.Join(l.dir, "sender")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", sender, "github.com/bulkhead-dev/bulkhead/test/firstpacket/sender")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // its image has no libraries
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the sender: %w\n%s", err, out)
	}
	if l.cluster, err = cluster.StartFull(ctx, cluster.FullOptions{Dir: filepath.Join(l.dir, "cluster"), CNI: l.cni, Log: l.out}); err != nil {
		return err
	}
	l.node = l.cluster.Nodes[0]
	if l.bypass {
		err := l.node.Do(func() error { return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0) })
		if err != nil {
			return err
		}
	}
	if l.client, err = kubernetes.NewForConfig(l.cluster.Admin()); err != nil {
		return err
	}
	image := cluster.Image{Name: senderImage, Files: map[string]string{"/sender": sender}, Entrypoint: []string{"/sender"}}
	if err := l.cluster.Load(ctx, image); err != nil {
		return err
	}
	if err := l.applyObjects(ctx); err != nil {
		return err
	}
	l.enforcer = &enforcer{lab: l}
	return l.openSinks(ctx)
}

// applyObjects applies the namespaces, their policies and what the chart says of the enforcer's rights.
func (l *lab) applyObjects(ctx context.Context) error {
	roles, err := os.ReadFile(filepath.Join(l.chart, "rbac", "enforcer.yaml"))
	if err != nil {
		return err
	}
	// The only expression in that file.
	roles = bytes.ReplaceAll(roles, []byte("{{ .Release.Namespace }}"), []byte(baseline.ProjectNamespace))
	if err := l.cluster.Apply(ctx, bytes.Join([][]byte{objects, roles}, []byte("\n---\n"))); err != nil {
		return err
	}
	l.kubeconfig, err = l.cluster.InsideKubeconfig("system:serviceaccount:" + baseline.ProjectNamespace + ":bulkhead-enforcer")
	if err != nil {
		return err
	}
	return cluster.Until(ctx, patience, "the ServiceAccounts of pods", func(ctx context.Context) error {
		for _, namespace := range []string{denied, allowed, audited, watched, open} {
			if _, err := l.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// gateway is the address outside of the cluster that policies name as well.
var gateway = netip.MustParseAddr("172.30.0.254")

// openSinks makes one in a pod, one on the node and one outside of it.
func (l *lab) openSinks(ctx context.Context) error {
	addr, err := l.startPod(ctx)
	if err != nil {
		return err
	}
	if l.inPod, err = l.namespaceOf(addr); err != nil {
		return err
	}
	for _, at := range []struct {
		name string
		addr netip.Addr
		in   func(func() error) error
	}{
		{"pod", addr, l.inPod},
		{"node", l.node.Addrs[0], l.node.Do},
		{"outside", gateway, l.cluster.Outside},
	} {
		s, err := openSink(at.name, at.addr, at.in)
		if err != nil {
			return err
		}
		l.sinks = append(l.sinks, s)
	}
	return nil
}

// startPod runs one in namespace open that does nothing, and returns its address.
func (l *lab) startPod(ctx context.Context) (addr netip.Addr, err error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "sink", Namespace: open}}
	pod.Spec.Containers = []corev1.Container{{Name: "pause", Image: cluster.Agnhost, Args: []string{"pause"}}}
	pods := l.client.CoreV1().Pods(open)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return addr, err
	}
	err = cluster.Until(ctx, patience, "the pod of the sink to run", func(ctx context.Context) error {
		got, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && got.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s", got.Status.Phase)
		}
		if err == nil {
			addr, err = netip.ParseAddr(got.Status.PodIP)
		}
		return err
	})
	return addr, err
}

func (l *lab) close() error {
	var errs []error
	for _, s := range l.sinks {
		errs = append(errs, s.close())
	}
	if l.cluster != nil {
		errs = append(errs, l.cluster.Stop(), l.keepLogs())
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

// keepLogs copies what kubelet and containerd say, which goes with the cluster.
func (l *lab) keepLogs() error {
	var errs []error
	for _, name := range []string{"kubelet.log", "containerd.log"} {
		content, err := os.ReadFile(filepath.Join(l.dir, "cluster", "node1", name))
		errs = append(errs, err, os.WriteFile(l.file(name), content, 0o644))
	}
	return errors.Join(errs...)
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.out, format+"\n", args...) }

func (l *lab) file(name string) string { return filepath.Join(l.output, name) }
