// SPDX-License-Identifier: Apache-2.0

// Package inventory mirrors what the enforcer needs of the API server's objects, trimmed to the fields
// that policies and flows speak of.
package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/apiclient"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// greeting is how long the API server may take to answer at all when the agent starts, or what kinds it has.
const greeting = 8 * time.Second

var (
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	jobs        = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
)

// Inventory follows what there is in the API server. It is safe for concurrent use.
type Inventory struct {
	deciding          []*mirror[uint64] // kinds that verdicts depend on
	replicaSets, jobs *mirror[owner]
	optional          optional // ClusterNetworkPolicies

	changes changes
	changed func()
	log     *slog.Logger
}

// New asks the API server for its version, so that one that cannot be reached is an error within ten
// seconds. changed is called, and must not block, after a relevant change of an object that policies depend on.
func New(ctx context.Context, config *rest.Config, log *slog.Logger, changed func()) (*Inventory, error) {
	if err := greet(ctx, config); err != nil {
		return nil, err
	}
	core, err := apiclient.New(config, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	networking, err := apiclient.New(config, networkingv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	owners, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a metadata client for the API server at %s: %w", config.Host, err)
	}
	anything, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client for the API server at %s: %w", config.Host, err)
	}
	inv := &Inventory{optional: optional{core, anything}, changed: changed, log: log}
	inv.follow("Namespace", core, "namespaces", new(corev1.Namespace))
	inv.follow("Pod", core, "pods", new(corev1.Pod))
	inv.follow("Service", core, "services", new(corev1.Service))
	inv.follow("Node", core, "nodes", new(corev1.Node))
	inv.follow("NetworkPolicy", networking, "networkpolicies", new(networkingv1.NetworkPolicy))
	inv.replicaSets, inv.jobs = followOwners(owners, replicaSets), followOwners(owners, jobs)
	_, err = inv.optional.served(ctx)
	return inv, err
}

func greet(ctx context.Context, config *rest.Config) error {
	short := rest.CopyConfig(config)
	short.Timeout = greeting
	client, err := apiclient.New(short, corev1.SchemeGroupVersion)
	if err != nil {
		return err
	}
	if err := client.Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return fmt.Errorf("reach the API server at %s (check --kubeconfig and the network): %w", config.Host, err)
	}
	return nil
}

// follow adds a kind that verdicts depend on.
func (inv *Inventory) follow(kind string, client *rest.RESTClient, resource string, object runtime.Object) {
	source := cache.NewListWatchFromClient(client, resource, metav1.NamespaceAll, fields.Everything())
	inv.deciding = append(inv.deciding, newMirror(source, object, digest, inv.noteAs(kind)))
}

func followOwners(client metadata.Interface, resource schema.GroupVersionResource) *mirror[owner] {
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.Resource(resource).List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Resource(resource).Watch(ctx, o)
		},
	}
	return newMirror(source, new(metav1.PartialObjectMetadata), ownerOf, func(types.NamespacedName, metav1.Object) {})
}

// noteAs notes objects of a kind as changes.
func (inv *Inventory) noteAs(kind string) func(types.NamespacedName, metav1.Object) {
	return func(name types.NamespacedName, object metav1.Object) {
		inv.changes.note(netpol.Key{Kind: kind, Namespace: name.Namespace, Name: name.Name}, object)
		inv.changed()
	}
}

func (inv *Inventory) watchFailed(kind string, err error) {
	inv.log.Warn("watching the API server failed, trying again", "kind", kind, "error", err)
}

// Run follows until ctx ends. It returns when all objects were seen for the first time, so that Take has everything
// (nil), or ctx has ended.
func (inv *Inventory) Run(ctx context.Context) error {
	settled := make(chan struct{})
	go inv.watchClusterPolicies(ctx, sync.OnceFunc(func() { close(settled) }))
	filled := []<-chan struct{}{settled, inv.replicaSets.filled, inv.jobs.filled}
	go inv.replicaSets.run(ctx, inv.watchFailed)
	go inv.jobs.run(ctx, inv.watchFailed)
	for _, m := range inv.deciding {
		go m.run(ctx, inv.watchFailed)
		filled = append(filled, m.filled)
	}
	for _, f := range filled {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f:
		}
	}
	return nil
}

// Take returns what has changed since it was called before: all objects, the first time. The objects are not kept
// here.
func (inv *Inventory) Take() netpol.Change { return inv.changes.take() }

// Owner returns the controller of a ReplicaSet or Job, of which kind and name alone are set. known is false if there
// is no such object, or not yet; a nil owner that is known means that it has none.
func (inv *Inventory) Owner(kind, namespace, name string) (controller *metav1.OwnerReference, known bool) {
	m := inv.replicaSets
	if kind == "Job" {
		m = inv.jobs
	}
	o, known := m.get(types.NamespacedName{Namespace: namespace, Name: name})
	if o == (owner{}) {
		return nil, known
	}
	return &metav1.OwnerReference{Kind: o.kind, Name: o.name}, known
}
