// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/balancer"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const (
	pollEvery   = 20 * time.Millisecond
	readyWithin = time.Minute
	// service and webhooks are the names in the chart.
	service, webhooks = "bulkhead-webhook", "bulkhead-webhook"
)

// lab is a control plane with the chart, and the webhook's replicas behind its Service.
type lab struct {
	config   config
	dir      string
	plane    *cluster.ControlPlane
	api      kubernetes.Interface // as administrator, --rate requests a second
	replicas []*replica
	balancer *balancer.Balancer
	progress io.Writer
}

// inLab runs do in a new lab, with all replicas ready.
func inLab(ctx context.Context, c config, progress io.Writer, do func(*lab) error) (err error) {
	dir, err := os.MkdirTemp("", "bulkhead-restarts-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l := &lab{config: c, dir: dir, progress: progress}
	if l.plane, err = cluster.Start(ctx, cluster.Options{Log: progress}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.plane.Stop()) }()
	limited := l.plane.Admin()
	limited.QPS, limited.Burst = float32(c.rate), c.parallel
	if l.api, err = kubernetes.NewForConfig(limited); err != nil {
		return err
	}
	if err := l.helm(ctx, "install", "bulkhead", c.chart, "--create-namespace"); err != nil {
		return err
	}
	if err := l.prepareReplicas(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.balancer.Close()) }()
	if err := l.routeService(ctx); err != nil {
		return fmt.Errorf("lead the Service to the replicas: %w", err)
	}
	defer func() { err = errors.Join(err, l.stopAll()) }()
	if err := l.startAll(ctx); err != nil {
		return err
	}
	return do(l)
}

func (l *lab) helm(ctx context.Context, args ...string) error {
	binary, err := cluster.Tool(ctx, "helm", l.progress)
	if err != nil {
		return err
	}
	kubeconfig, err := l.plane.Kubeconfig("installer", "system:masters")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, append(args, "--namespace", baseline.ProjectNamespace, "--kubeconfig", kubeconfig)...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+l.dir, "HELM_CONFIG_HOME="+l.dir, "HELM_DATA_HOME="+l.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", args[0], err, out)
	}
	return nil
}

func (l *lab) prepareReplicas() error {
	kubeconfig, err := l.plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount))
	if err != nil {
		return err
	}
	addresses, err := cluster.FreeAddresses(2 * l.config.replicas)
	if err != nil {
		return err
	}
	var members []balancer.Replica
	for i := range l.config.replicas {
		listen, health := addresses[2*i], addresses[2*i+1]
		r := &replica{binary: l.config.webhook, log: filepath.Join(l.dir, fmt.Sprintf("webhook-%d.log", i)), ready: "http://" + health + "/readyz"}
		r.args = []string{
			"--kubeconfig=" + kubeconfig, "--listen=" + listen, "--health-addr=" + health, "--metrics-addr=0",
			"--drain=" + l.config.drain.String(), "--rules-configmap=" + baseline.ProjectNamespace + "/bulkhead-rules",
		}
		l.replicas = append(l.replicas, r)
		members = append(members, balancer.Replica{Address: listen, Ready: r.ready})
	}
	l.balancer, err = balancer.Start(balancer.Config{Replicas: members, Probe: l.config.probe, Delay: l.config.delay})
	return err
}

// routeService leads the API server to the balancer. It looks Services up by itself, and calls one of type
// ExternalName at that name, with the webhook's port. All else is as the chart has it, also the name that the
// certificate must have.
func (l *lab) routeService(ctx context.Context) error {
	host, text, err := net.SplitHostPort(l.balancer.Addr())
	if err != nil {
		return err
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return err
	}
	services := l.api.CoreV1().Services(baseline.ProjectNamespace)
	if err := services.Delete(ctx, service, metav1.DeleteOptions{}); err != nil {
		return err
	}
	external := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: service}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: host}}
	if _, err := services.Create(ctx, external, metav1.CreateOptions{}); err != nil {
		return err
	}
	return l.setPort(ctx, int32(port))
}

func (l *lab) setPort(ctx context.Context, port int32) error {
	registered := l.api.AdmissionregistrationV1()
	validating, err := registered.ValidatingWebhookConfigurations().Get(ctx, webhooks, metav1.GetOptions{})
	if err != nil {
		return err
	}
	mutating, err := registered.MutatingWebhookConfigurations().Get(ctx, webhooks, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var clients []*admissionv1.WebhookClientConfig
	for i := range validating.Webhooks {
		clients = append(clients, &validating.Webhooks[i].ClientConfig)
	}
	for i := range mutating.Webhooks {
		clients = append(clients, &mutating.Webhooks[i].ClientConfig)
	}
	for _, client := range clients {
		client.Service.Port = &port
	}
	if _, err := registered.ValidatingWebhookConfigurations().Update(ctx, validating, metav1.UpdateOptions{}); err != nil {
		return err
	}
	_, err = registered.MutatingWebhookConfigurations().Update(ctx, mutating, metav1.UpdateOptions{})
	return err
}

// startAll returns when every replica is in the Service and all kinds of requests are judged as they must be:
// the API server learns of admission objects a second or two after they were made.
func (l *lab) startAll(ctx context.Context) error {
	for _, r := range l.replicas {
		if _, err := r.start(ctx); err != nil {
			return err
		}
	}
	err := l.poll(ctx, "all replicas are in the Service", func(context.Context) (bool, error) {
		for i := range l.replicas {
			if !l.balancer.Routed(i) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	var last string
	err = l.poll(ctx, "requests are judged", func(ctx context.Context) (bool, error) {
		message := l.tryAll(ctx)
		if ctx.Err() == nil {
			last = message
		}
		return message == "", nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, last)
	}
	return nil
}

// tryAll sends every request once and returns what was wrong with the first; empty: nothing.
func (l *lab) tryAll(ctx context.Context) string {
	_, err := l.api.CoreV1().Namespaces().Create(ctx, ownedNamespace(shop), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err.Error()
	}
	for _, request := range requests {
		if o := request.send(ctx, l.api); o.kind != rightly {
			return o.message
		}
	}
	return ""
}

func (l *lab) stopAll() error {
	var errs []error
	for _, r := range l.replicas {
		errs = append(errs, r.end(0))
	}
	return errors.Join(errs...)
}

func (l *lab) poll(ctx context.Context, what string, done wait.ConditionWithContextFunc) error {
	if err := wait.PollUntilContextTimeout(ctx, pollEvery, readyWithin, true, done); err != nil {
		return fmt.Errorf("wait until %s: %w", what, err)
	}
	return nil
}
