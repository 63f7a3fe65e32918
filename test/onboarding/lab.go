// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/template"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// setup is what every lab needs.
type setup struct {
	webhook    string // the binary
	chart      string // folder of the Helm chart
	apiServers int    // on one etcd
}

// lab is a control plane with the webhook's roles, and replicas of bulkhead-webhook beside it.
type lab struct {
	setup      setup
	dir        string
	plane      *cluster.ControlPlane
	apis       []kubernetes.Interface // of the API servers, as administrator
	asWebhook  kubernetes.Interface   // may delete managed policies
	kubeconfig string                 // of the webhook
	replicas   []*replica
	progress   io.Writer
}

// inLab runs do in a new lab, with the webhook's roles and without the webhook.
func inLab(ctx context.Context, s setup, progress io.Writer, do func(*lab) error) (err error) {
	dir, err := os.MkdirTemp("", "bulkhead-onboarding-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l := &lab{setup: s, dir: dir, progress: progress}
	l.plane, err = cluster.Start(ctx, cluster.Options{Log: progress, APIServers: s.apiServers})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.plane.Stop()) }()
	if err := l.connect(); err != nil {
		return err
	}
	if err := l.install(ctx); err != nil {
		return fmt.Errorf("install the webhook's roles: %w", err)
	}
	defer func() {
		for _, r := range l.replicas {
			err = errors.Join(err, r.kill())
		}
	}()
	return do(l)
}

func (l *lab) connect() error {
	for _, config := range l.plane.Admins() {
		api, err := kubernetes.NewForConfig(config)
		if err != nil {
			return err
		}
		l.apis = append(l.apis, api)
	}
	var err error
	if l.kubeconfig, err = l.plane.Kubeconfig(baseline.ServiceAccountUser(baseline.WebhookServiceAccount)); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig)
	if err != nil {
		return err
	}
	l.asWebhook, err = kubernetes.NewForConfig(config)
	return err
}

// resources of what the chart's file of roles holds.
var resources = map[string]string{
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles", "RoleBinding": "rolebindings",
}

// install makes what the Helm chart makes for a webhook that registers itself: namespace and permissions.
func (l *lab) install(ctx context.Context) error {
	if _, err := l.createNamespace(ctx, l.apis[0], baseline.ProjectNamespace); err != nil {
		return err
	}
	parsed, err := template.ParseFiles(filepath.Join(l.setup.chart, "rbac", "webhook.yaml"))
	if err != nil {
		return err
	}
	var rendered bytes.Buffer
	if err := parsed.Execute(&rendered, map[string]any{"Release": map[string]any{"Namespace": baseline.ProjectNamespace}}); err != nil {
		return err
	}
	if err := l.applyRoles(ctx, &rendered); err != nil {
		return err
	}
	_, err = l.apis[0].RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bulkhead-webhook-register"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bulkhead-webhook-register"},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: baseline.ProjectNamespace, Name: baseline.WebhookServiceAccount,
		}},
	}, metav1.CreateOptions{})
	return err
}

func (l *lab) applyRoles(ctx context.Context, documents io.Reader) error {
	client, err := dynamic.NewForConfig(l.plane.Admin())
	if err != nil {
		return err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(documents, 4096)
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		resource := schema.GroupVersionResource{Group: rbacv1.GroupName, Version: "v1", Resource: resources[object.GetKind()]}
		_, err := client.Resource(resource).Namespace(object.GetNamespace()).Create(ctx, &object, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}
