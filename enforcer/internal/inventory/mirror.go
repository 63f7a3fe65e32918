// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// A watch that failed is begun again after firstRetry, then ever later up to lastRetry.
const (
	firstRetry = 800 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// mirror follows the objects of one kind. It hands them on and does not keep them: of each it remembers a value, which
// is another one when the object has changed. It is the store of a cache.Reflector, and safe for concurrent use.
type mirror[V comparable] struct {
	source  cache.ListerWatcher
	kind    runtime.Object // one of the kind, as source gives it
	valueOf func(metav1.Object) V
	// changed is called with an object that is new or has changed, trimmed, and with nil for one that is gone. It
	// must not block.
	changed func(types.NamespacedName, metav1.Object)
	// filled is closed when changed has been called with all the objects that there were at the start.
	filled chan struct{}

	mu    sync.Mutex
	known map[types.NamespacedName]V
	fill  sync.Once
}

func newMirror[V comparable](source cache.ListerWatcher, kind runtime.Object, valueOf func(metav1.Object) V, changed func(types.NamespacedName, metav1.Object)) *mirror[V] {
	return &mirror[V]{
		source: source, kind: kind, valueOf: valueOf, changed: changed,
		filled: make(chan struct{}), known: make(map[types.NamespacedName]V),
	}
}

// run returns when ctx ends. It calls failed with what keeps it from following, each time.
func (m *mirror[V]) run(ctx context.Context, failed func(kind string, err error)) {
	r := cache.NewReflectorWithOptions(m.source, m.kind, m, cache.ReflectorOptions{})
	pause := wait.Backoff{Duration: firstRetry, Factor: 2, Jitter: 1, Steps: 10, Cap: lastRetry}
	_ = pause.DelayWithReset(clock.RealClock{}, 2*time.Minute).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		if err := r.ListAndWatchWithContext(ctx); err != nil {
			failed(r.TypeDescription(), err)
		}
		return false, nil
	})
}

// get is the value of an object, if there is one.
func (m *mirror[V]) get(name types.NamespacedName) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, found := m.known[name]
	return value, found
}

// Add is for the Reflector, as are the methods below.
func (m *mirror[V]) Add(object any) error { return m.Update(object) }

// Update hands an object on if it has changed; most updates are heartbeats and conditions.
func (m *mirror[V]) Update(object any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.set(object)
	return err
}

func (m *mirror[V]) set(object any) (name types.NamespacedName, err error) {
	o, err := trim(object)
	if err != nil {
		return name, err
	}
	name = nameOf(o)
	value := m.valueOf(o.Object)
	if before, found := m.known[name]; !found || before != value {
		m.known[name] = value
		m.changed(name, o.Object)
	}
	return name, nil
}

// Delete says that an object is gone.
func (m *mirror[V]) Delete(object any) error {
	o, ok := object.(metav1.Object)
	if !ok {
		return fmt.Errorf("a %T was deleted where a %T was expected", object, m.kind)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(nameOf(o))
	return nil
}

func (m *mirror[V]) forget(name types.NamespacedName) {
	if _, found := m.known[name]; found {
		delete(m.known, name)
		m.changed(name, nil)
	}
}

// Replace says that these are all objects.
func (m *mirror[V]) Replace(objects []any, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := maps.Clone(m.known)
	for _, object := range objects {
		name, err := m.set(object)
		if err != nil {
			return err
		}
		delete(gone, name)
	}
	for name := range gone {
		m.forget(name)
	}
	m.fill.Do(func() { close(m.filled) })
	return nil
}

// Resync does nothing: whoever failed with an object tries again by itself.
func (m *mirror[V]) Resync() error { return nil }

// Transformer makes the Reflector trim objects while it collects the first of them.
func (m *mirror[V]) Transformer() cache.TransformFunc {
	return func(object any) (any, error) { return trim(object) }
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

var digestSeed = maphash.MakeSeed()

// digest is the same for equal objects, whatever their resource version, and hardly ever for others.
func digest(o metav1.Object) uint64 {
	version := o.GetResourceVersion()
	o.SetResourceVersion("")
	defer o.SetResourceVersion(version)
	var h maphash.Hash
	h.SetSeed(digestSeed)
	_ = json.NewEncoder(&h).Encode(o) // types of the API, which can all be written, to memory
	return h.Sum64()
}

// owner is what controls an object; the zero owner: nothing.
type owner struct{ kind, name string }

func ownerOf(o metav1.Object) owner {
	if c := metav1.GetControllerOfNoCopy(o); c != nil {
		return owner{c.Kind, c.Name}
	}
	return owner{}
}
