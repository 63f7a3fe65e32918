// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
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

// patience is how long an object may take to become ready.
const patience = 2 * time.Minute

// The image of the enforcer, as the chart names it with these values.
const (
	registry = "registry.example.com"
	tag      = "conformance"
)

//go:embed mode.yaml
var mode []byte

// enforceNewNamespaces returns when new namespaces are labelled.
func (l *lab) enforceNewNamespaces(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(l.Admin())
	if err != nil {
		return err
	}
	if err := l.Apply(ctx, mode); err != nil {
		return err
	}
	try := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "try"}}
	return cluster.Until(ctx, patience, "new namespaces to get a mode", func(ctx context.Context) error {
		ns, err := client.CoreV1().Namespaces().Create(ctx, try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && ns.Labels[baseline.LabelMode] != "enforce" {
			err = fmt.Errorf("a new namespace has the labels %v", ns.Labels)
		}
		return err
	})
}

// installEnforcer applies what the chart says about the enforcer, and no more of it: the baseline policies that
// the webhook gives a namespace are not what the suite expects to find there.
func (l *lab) installEnforcer(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(l.Admin())
	if err != nil {
		return err
	}
	image := cluster.Image{
		Name:       registry + "/bulkhead-enforcer:" + tag,
		Files:      map[string]string{"/bulkhead-enforcer": l.enforcer},
		Entrypoint: []string{"/bulkhead-enforcer"},
	}
	if err := l.Load(ctx, image); err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: baseline.ProjectNamespace}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	objects, err := l.renderChart(ctx)
	if err != nil {
		return err
	}
	if err := l.Apply(ctx, objects); err != nil {
		return err
	}
	begin := time.Now()
	err = cluster.Until(ctx, patience, "bulkhead-enforcer to be ready on every node", func(ctx context.Context) error {
		return l.enforcerReady(ctx, client)
	})
	if err != nil {
		return fmt.Errorf("%w; see what it says in %s", err, l.file("node*-status.txt"))
	}
	l.say("bulkhead-enforcer ready on every node after %s", time.Since(begin).Round(100*time.Millisecond))
	return nil
}

// renderChart returns the chart's objects of the enforcer.
func (l *lab) renderChart(ctx context.Context) ([]byte, error) {
	helm, err := cluster.Tool(ctx, "helm", l.out)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, helm, "template", "bulkhead", l.chart, "--namespace", baseline.ProjectNamespace,
		"--set", "image.registry="+registry, "--set", "image.tag="+tag,
		"--show-only", "templates/enforcer.yaml", "--show-only", "templates/hubble.yaml")
	cmd.Env = append(cmd.Environ(), "HOME="+l.output)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	objects, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("helm template: %w\n%s", err, stderr.Bytes())
	}
	roles, err := os.ReadFile(filepath.Join(l.chart, "rbac", "enforcer.yaml"))
	if err != nil {
		return nil, err
	}
	// The only expression in that file.
	roles = bytes.ReplaceAll(roles, []byte("{{ .Release.Namespace }}"), []byte(baseline.ProjectNamespace))
	return bytes.Join([][]byte{roles, objects}, []byte("\n---\n")), nil
}

func (l *lab) enforcerReady(ctx context.Context, client kubernetes.Interface) error {
	set, err := client.AppsV1().DaemonSets(baseline.ProjectNamespace).Get(ctx, "bulkhead-enforcer", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if int(set.Status.NumberReady) != l.Nodes() {
		return fmt.Errorf("%d of %d pods of the DaemonSet are ready", set.Status.NumberReady, l.Nodes())
	}
	return nil
}

// Nodes is how many there are.
func (l *lab) Nodes() int { return len(l.Cluster.Nodes) }

// collectEvidence writes what the enforcers say about themselves.
func (l *lab) collectEvidence(ctx context.Context) error {
	var errs []error
	for _, n := range l.Cluster.Nodes {
		for name, command := range map[string][]string{
			"status.txt":   {l.enforcer, "status"},
			"status.json":  {l.enforcer, "status", "-o", "json"},
			"enforcer.log": {"sh", "-c", "cat /var/log/pods/" + baseline.ProjectNamespace + "_bulkhead-enforcer-*/enforcer/*.log"},
			"links.txt":    {"ip", "-details", "address"},
			"iptables.txt": {"iptables-save"},
		} {
			out, err := n.Run(ctx, command[0], command[1:]...)
			if err != nil {
				out = append(out, err.Error()...) // that it says nothing is evidence too
			}
			errs = append(errs, os.WriteFile(l.file(n.Name+"-"+name), out, 0o644))
		}
	}
	return errors.Join(errs...)
}
