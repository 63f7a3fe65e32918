// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// requestTimeout bounds one request, so that an API server that does not answer is an error soon.
const requestTimeout = 8 * time.Second

// connect makes a client from a kubeconfig file; empty: from the pod that this runs in.
func connect(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := rest.InClusterConfig()
	where := "in-cluster configuration"
	if kubeconfig != "" {
		where = "kubeconfig " + kubeconfig
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if clientcmd.IsEmptyConfig(err) { // its own text is about a variable that nobody has heard of
		return nil, fmt.Errorf("%s: it names no cluster", where)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	config.Timeout = requestTimeout
	config.UserAgent = "bulkhead"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	// One cheap request tells an unreachable server from one that refuses a later one.
	if _, err := client.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("API server %s (%s): %w", config.Host, where, err)
	}
	return client, nil
}
