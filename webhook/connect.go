// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

const (
	// answerWithin bounds the wait for an API server at the start.
	answerWithin = 8 * time.Second
	// Onboarding is a burst of small writes; the API server's own priority and fairness is
	// what limits it.
	clientQPS, clientBurst = 500, 1000
)

// oldest is the first Kubernetes with ValidatingAdmissionPolicy, which the pod gate is.
var oldest = version.MustParseGeneric("1.30.0")

// connect returns the configuration of a client, of an API server that has answered and is recent
// enough. An empty kubeconfig means: in the cluster.
func connect(ctx context.Context, kubeconfig string) (*rest.Config, error) {
	config, err := load(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = "bulkhead-webhook"
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return config, checkServer(ctx, config)
}

func load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a cluster, and no --kubeconfig given: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("--kubeconfig %s: it names no cluster", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: it cannot be read as a kubeconfig: %w", kubeconfig, err)
	}
	return config, nil
}

func checkServer(ctx context.Context, config *rest.Config) error {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client for %s: %w", config.Host, err)
	}
	body, err := clients.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("API server %s does not answer: %w", config.Host, err)
	}
	return checkVersion(config.Host, body)
}

// checkNamespace errs unless our namespace is there. Nothing else would say so before all waiting is over.
func checkNamespace(ctx context.Context, c client.Reader, name string) error {
	err := c.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("there is no namespace %s for the certificate authority: create it, or name another with --namespace", name)
	}
	if err != nil {
		return fmt.Errorf("read namespace %s (has this user the roles that the chart gives bulkhead-webhook?): %w", name, err)
	}
	return nil
}

// customResources makes sure that the API server serves Bulkhead's own kinds: nothing can watch them before.
// Where the webhook registers itself it brings them, elsewhere the chart does.
func customResources(ctx context.Context, c *Config, live client.Client) error {
	if c.WebhookURL != "" {
		return register.ApplyCRDs(ctx, live)
	}
	return register.CheckCRDs(live.RESTMapper())
}

// whoami returns the user name that the API server knows us by.
func whoami(ctx context.Context, config *rest.Config) (string, error) {
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("client for %s: %w", config.Host, err)
	}
	review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask API server %s who we are: %w", config.Host, err)
	}
	return review.Status.UserInfo.Username, nil
}

// checkVersion reads the answer of /version.
func checkVersion(host string, body []byte) error {
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return fmt.Errorf("%s does not answer like a Kubernetes API server: %w", host, err)
	}
	found, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("%s does not answer like a Kubernetes API server: %w", host, err)
	}
	if found.LessThan(oldest) {
		return fmt.Errorf("API server %s is Kubernetes %s, which has no ValidatingAdmissionPolicy: upgrade to %s or later", host, info.GitVersion, oldest)
	}
	return nil
}
