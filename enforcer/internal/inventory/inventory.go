// SPDX-License-Identifier: Apache-2.0

// Package inventory mirrors what the enforcer needs of the API server's objects, trimmed to the fields
// that policies and flows speak of.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// greeting is how long the API server may take to answer at all when the agent starts.
const greeting = 8 * time.Second

var (
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	jobs        = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
)

// Inventory is a set of caches. It is safe for concurrent use.
type Inventory struct {
	namespaces, pods, services, nodes, policies cache.SharedIndexInformer
	replicaSets, jobs                           cache.SharedIndexInformer
	told                                        []cache.InformerSynced // the first objects are noted as changes
	optional                                    optional               // ClusterNetworkPolicies

	changes changes
	changed func()
	log     *slog.Logger
}

// New asks the API server for its version, so that one that cannot be reached is an error within ten
// seconds, and prepares the caches. changed is called, and must not block, after a relevant change of
// an object that policies depend on.
func New(ctx context.Context, config *rest.Config, log *slog.Logger, changed func()) (*Inventory, error) {
	if err := greet(ctx, config); err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server at %s: %w", config.Host, err)
	}
	owners, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a metadata client for the API server at %s: %w", config.Host, err)
	}
	anything, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client for the API server at %s: %w", config.Host, err)
	}
	typed := informers.NewSharedInformerFactoryWithOptions(client, 0)
	partial := metadatainformer.NewSharedInformerFactory(owners, 0)
	inv := &Inventory{
		namespaces:  typed.Core().V1().Namespaces().Informer(),
		pods:        typed.Core().V1().Pods().Informer(),
		services:    typed.Core().V1().Services().Informer(),
		nodes:       typed.Core().V1().Nodes().Informer(),
		policies:    typed.Networking().V1().NetworkPolicies().Informer(),
		replicaSets: partial.ForResource(replicaSets).Informer(),
		jobs:        partial.ForResource(jobs).Informer(),
		optional:    optional{discovery: client.Discovery(), client: anything},
		changed:     changed,
		log:         log,
	}
	if _, err := inv.optional.served(); err != nil {
		return nil, err
	}
	return inv, errors.Join(inv.quiet(inv.all()...), inv.call(inv.deciding()...))
}

func greet(ctx context.Context, config *rest.Config) error {
	short := rest.CopyConfig(config)
	short.Timeout = greeting
	client, err := kubernetes.NewForConfig(short)
	if err != nil {
		return fmt.Errorf("make a client for the API server at %s: %w", config.Host, err)
	}
	if err := client.RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return fmt.Errorf("reach the API server at %s (check --kubeconfig and the network): %w", config.Host, err)
	}
	return nil
}

func (inv *Inventory) all() []cache.SharedIndexInformer {
	return append(inv.deciding(), inv.replicaSets, inv.jobs)
}

// deciding are the kinds that verdicts depend on.
func (inv *Inventory) deciding() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{inv.namespaces, inv.pods, inv.services, inv.nodes, inv.policies}
}

// quiet makes caches keep only what is needed, and report watches that fail.
func (inv *Inventory) quiet(kinds ...cache.SharedIndexInformer) error {
	var errs []error
	for _, i := range kinds {
		errs = append(errs, i.SetTransform(trim), i.SetWatchErrorHandlerWithContext(inv.watchFailed))
	}
	return errors.Join(errs...)
}

// call makes caches call for an update when something in them changes.
func (inv *Inventory) call(kinds ...cache.SharedIndexInformer) error {
	var errs []error
	for _, i := range kinds {
		handler, err := i.AddEventHandler(inv.handler())
		errs = append(errs, err)
		if err == nil {
			inv.told = append(inv.told, handler.HasSynced)
		}
	}
	return errors.Join(errs...)
}

func (inv *Inventory) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{AddFunc: inv.set, UpdateFunc: inv.updated, DeleteFunc: inv.deleted}
}

func (inv *Inventory) set(object any) {
	inv.changes.note(keyOf(object), object)
	inv.changed()
}

func (inv *Inventory) deleted(object any) {
	if tombstone, missed := object.(cache.DeletedFinalStateUnknown); missed {
		object = tombstone.Obj
	}
	inv.changes.note(keyOf(object), nil)
	inv.changed()
}

func (inv *Inventory) watchFailed(_ context.Context, r *cache.Reflector, err error) {
	inv.log.Warn("watching the API server failed, trying again", "kind", r.TypeDescription(), "error", err)
}

// updated passes on updates of what trim kept; most updates are heartbeats and conditions.
func (inv *Inventory) updated(before, after any) {
	if !sameContent(before.(runtime.Object), after.(runtime.Object)) {
		inv.set(after)
	}
}

// sameContent compares all but the resource version.
func sameContent(before, after runtime.Object) bool {
	clone := after.DeepCopyObject()
	clone.(metav1.Object).SetResourceVersion(before.(metav1.Object).GetResourceVersion())
	return equality.Semantic.DeepEqual(before, clone)
}

// Run keeps the caches up to date until ctx ends. It returns when all are filled for the first time, so that Take
// has everything (nil), or ctx has ended.
func (inv *Inventory) Run(ctx context.Context) error {
	synced := slices.Clone(inv.told)
	for _, i := range inv.all() {
		go i.RunWithContext(ctx)
		synced = append(synced, i.HasSynced)
	}
	settled := make(chan struct{})
	go inv.watchClusterPolicies(ctx, sync.OnceFunc(func() { close(settled) }))
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return ctx.Err()
	}
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Take returns what has changed since it was called before: all objects, the first time. The objects are shared:
// they are read only.
func (inv *Inventory) Take() netpol.Change { return inv.changes.take() }

// Owner returns the controller of a ReplicaSet or Job. known is false if there is no such object, or
// not yet; a nil owner that is known means that it has none.
func (inv *Inventory) Owner(kind, namespace, name string) (owner *metav1.OwnerReference, known bool) {
	informer := inv.replicaSets
	if kind == "Job" {
		informer = inv.jobs
	}
	object, found, err := informer.GetStore().GetByKey(namespace + "/" + name)
	if err != nil || !found {
		return nil, false
	}
	return metav1.GetControllerOf(object.(*metav1.PartialObjectMetadata)), true
}
