// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// ports are free loopback addresses for the parts.
type ports struct {
	webhook, webhookHealth, webhookMetrics, enforcer, hubble, generator string
}

// start is step 1: a control plane, what the chart installs but for the workloads, and the webhook
// as a process. The enforcer and the generator follow when there is something for them to see.
func (d *demo) start(ctx context.Context) (err error) {
	if d.plane, err = cluster.Start(ctx, cluster.Options{Dir: d.path("control-plane"), Log: indented{d.out}}); err != nil {
		return err
	}
	if d.api, err = kubernetes.NewForConfig(d.plane.Admin()); err != nil {
		return err
	}
	if d.dynamic, err = dynamic.NewForConfig(d.plane.Admin()); err != nil {
		return err
	}
	if err := d.choosePorts(); err != nil {
		return err
	}
	if err := d.install(ctx); err != nil {
		return fmt.Errorf("install the chart's roles: %w", err)
	}
	if err := createNode(ctx, d.api); err != nil {
		return err
	}
	for _, w := range d.workload { // the cluster has DNS before anything else
		if w.namespace == metav1.NamespaceSystem {
			if _, err := w.create(ctx, d.api); err != nil {
				return fmt.Errorf("create %s: %w", w.name, err)
			}
		}
	}
	return d.part(ctx, "bulkhead-webhook", baseline.WebhookServiceAccount, d.ports.webhookHealth,
		"--webhook-url=https://"+d.ports.webhook, "--health-addr="+d.ports.webhookHealth, "--metrics-addr="+d.ports.webhookMetrics)
}

func (d *demo) choosePorts() error {
	free, err := cluster.FreeAddresses(6)
	if err != nil {
		return err
	}
	d.ports = ports{free[0], free[1], free[2], free[3], free[4], free[5]}
	return nil
}

// installed kinds of the chart; its workloads run here as processes, and the webhook registers its
// admission objects by itself.
var installed = map[string]schema.GroupVersionResource{
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"ConfigMap":          {Version: "v1", Resource: "configmaps"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
}

// install applies what helm renders, so that the parts run with the rights that the chart gives them.
func (d *demo) install(ctx context.Context) error {
	if err := createNamespace(ctx, d.api, baseline.ProjectNamespace, nil); err != nil {
		return err
	}
	helm, err := cluster.Tool(ctx, "helm", indented{d.out})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, helm, "template", "bulkhead", d.chart, "--namespace", baseline.ProjectNamespace,
		"--set", "generator.repository.url="+d.path("policies.git"))
	cmd.Env = append(cmd.Environ(), "HOME="+d.dir)
	rendered, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("helm template: %w%s", err, stderr(err))
	}
	count := 0
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(rendered), 4096)
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		applied, err := d.apply(ctx, &object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if applied {
			count++
		}
	}
	if err := d.letWebhookRegister(ctx); err != nil {
		return err
	}
	d.say("chart: %d service accounts, roles and bindings applied; every part runs with its own and no more", count)
	return nil
}

// letWebhookRegister gives the webhook the one right more that it needs outside a cluster, where it
// registers itself by URL.
func (d *demo) letWebhookRegister(ctx context.Context) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bulkhead-webhook-register"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bulkhead-webhook-register"},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: baseline.ProjectNamespace, Name: baseline.WebhookServiceAccount,
		}},
	}
	_, err := d.api.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	return err
}

func (d *demo) apply(ctx context.Context, object *unstructured.Unstructured) (bool, error) {
	resource, ok := installed[object.GetKind()]
	if !ok {
		return false, nil
	}
	_, err := d.dynamic.Resource(resource).Namespace(object.GetNamespace()).
		Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: "helm"})
	return true, err
}

func stderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return ": " + string(exit.Stderr)
	}
	return ""
}

// part starts one of the binaries with the identity of its service account, and waits until it says
// that it is ready.
func (d *demo) part(ctx context.Context, binary, account, health string, args ...string) error {
	kubeconfig, err := d.plane.Kubeconfig(baseline.ServiceAccountUser(account))
	if err != nil {
		return err
	}
	args = append(slices.Clone(args), "--kubeconfig="+kubeconfig)
	p, err := cluster.StartProcess(filepath.Join(d.bin, binary), d.path(binary+".log"), args)
	if err != nil {
		return err
	}
	begin := time.Now()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.Done():
			cancel(p.EndedByItself())
		case <-running.Done():
		}
	}()
	err = d.until(running, binary+" is ready", func(ctx context.Context) (bool, error) {
		return ready(ctx, "http://"+health+"/readyz")
	})
	if err != nil {
		_ = p.Stop(time.Second) // how it ended is in err
		return err
	}
	d.parts = append(d.parts, p)
	d.say("%s ready after %s", binary, time.Since(begin).Round(time.Millisecond))
	return nil
}

func ready(ctx context.Context, url string) (bool, error) {
	_, err := get(ctx, url)
	return err == nil, err
}

// get asks a part; any status but 200 is an error with what it says.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.512s", resp.Status, text)
	}
	return text, err
}

// indented puts what a part says under its step.
type indented struct{ to io.Writer }

func (w indented) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if _, err := fmt.Fprintf(w.to, "    %s", line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
