// SPDX-License-Identifier: Apache-2.0

package onboard

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// servicesFor caches the Services of the namespaces in which DNS is looked for, and the configured one.
func servicesFor(configured types.NamespacedName) cache.ByObject {
	namespaces := map[string]cache.Config{}
	if configured.Name != "" {
		namespaces[configured.Namespace] = cache.Config{FieldSelector: fields.OneTermEqualSelector("metadata.name", configured.Name)}
	}
	for _, name := range baseline.DNSNamespaces() {
		namespaces[name] = cache.Config{}
	}
	return cache.ByObject{Namespaces: namespaces, Transform: trimmed}
}

// nodeLocalCaches caches the DaemonSets among which those of node-local caches are.
func nodeLocalCaches() cache.ByObject {
	return cache.ByObject{Namespaces: map[string]cache.Config{metav1.NamespaceSystem: {}}, Transform: trimmed}
}

// trimmed leaves out of the cache what is large and never looked at.
func trimmed(object any) (any, error) {
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		o.SetAnnotations(nil) // that of kubectl apply is the whole object again
	}
	return object, nil
}

// DNS finds where the cluster's DNS answers.
type DNS struct {
	Client    client.Reader        // reads from a cache that was made with CacheFor
	Service   types.NamespacedName // that pods send their queries to; empty: it is detected
	NodeLocal []netip.Addr         // caches on the nodes; empty: they are detected

	mu   sync.Mutex
	last baseline.DNSTargets // what was found the last time, so that all who keep it keep the same
}

// StartingMode returns the mode of a namespace that is created now: configured, or audit instead of
// enforce while no DNS is found, because the policies might then be an outage that nobody understands.
// Where that cannot be told it is configured.
func (d *DNS) StartingMode(ctx context.Context, configured baseline.Mode) baseline.Mode {
	targets, err := d.Targets(ctx)
	if err != nil || targets.Assumed == "" {
		return configured
	}
	return min(configured, baseline.Audit)
}

// Targets reads where DNS answers. Where it is not found, that is what nearly every cluster has: no
// name resolution at all would be worse.
func (d *DNS) Targets(ctx context.Context) (baseline.DNSTargets, error) {
	var services corev1.ServiceList
	if err := d.Client.List(ctx, &services, client.UnsafeDisableDeepCopy); err != nil {
		return baseline.DNSTargets{}, fmt.Errorf("list DNS Services: %w", err)
	}
	var sets appsv1.DaemonSetList
	if err := d.Client.List(ctx, &sets, client.UnsafeDisableDeepCopy); err != nil {
		return baseline.DNSTargets{}, fmt.Errorf("list DaemonSets of node-local caches: %w", err)
	}
	sources := baseline.DNSSources{Configured: d.Service, NodeLocal: d.NodeLocal}
	for i := range services.Items {
		sources.Services = append(sources.Services, &services.Items[i])
	}
	for i := range sets.Items {
		sources.DaemonSets = append(sources.DaemonSets, &sets.Items[i])
	}
	targets := baseline.DiscoverDNS(sources)
	reportDNS(targets)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !reflect.DeepEqual(targets, d.last) {
		d.last = targets
	}
	return d.last, nil
}

// following is what every DNS policy was last brought to.
type following struct {
	mu      sync.Mutex
	targets baseline.DNSTargets
}

// followDNS answers a change of a Service or DaemonSet that may have to do with DNS. When DNS answers
// elsewhere now, every DNS policy is another one.
func (r *Reconciler) followDNS(ctx context.Context, cause client.Object) []reconcile.Request {
	r.following.mu.Lock()
	defer r.following.mu.Unlock()
	targets, err := r.config.DNS.Targets(ctx)
	if err != nil {
		r.config.Log.Error("DNS could not be looked for after a change", "error", err)
		return nil
	}
	if reflect.DeepEqual(targets, r.following.targets) {
		return nil
	}
	r.following.targets = targets
	if targets.Assumed != "" {
		r.config.Log.Warn("no DNS found, policies allow the usual DNS pods instead", "reason", targets.Assumed)
	} else {
		r.config.Log.Info("DNS found", "deployments", len(targets.Pods), "nodeLocal", len(targets.NodeLocal))
	}
	return r.everyNamespace(ctx, cause)
}
