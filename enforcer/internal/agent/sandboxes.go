// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
)

// sandboxes are the pods that the container runtime told of: it knows a pod's network before the API server does,
// and starts nothing in it before it was answered. It is safe for concurrent use.
type sandboxes struct {
	network   *hostnet.Network
	netnsPath string // where the runtime's pins are seen from here
	trigger   *trigger

	mu      sync.Mutex
	known   map[string]sandbox // by ID
	waiting map[string]chan struct{}
	serial  uint64
}

// sandbox is one that has a network.
type sandbox struct {
	nri.Sandbox
	pod    hostnet.Pod
	serial uint64 // a later one is higher
}

func newSandboxes(network *hostnet.Network, netnsPath string, t *trigger) *sandboxes {
	return &sandboxes{
		network: network, netnsPath: netnsPath, trigger: t,
		known: make(map[string]sandbox), waiting: make(map[string]chan struct{}),
	}
}

// read looks into the pod's network. The runtime names the namespace by a path of the node, /var/run/netns/…, which
// need not lead anywhere in the enforcer's container; only the last part of it is the same there.
func (s *sandboxes) read(told nri.Sandbox) (hostnet.Pod, error) {
	return s.network.Pod(filepath.Join(s.netnsPath, filepath.Base(told.NetNS)))
}

// synchronized replaces what is known. One whose network is being taken down has no interface any more.
func (s *sandboxes) synchronized(_ context.Context, all []nri.Sandbox) error {
	known := make(map[string]sandbox, len(all))
	for i, told := range all {
		if pod, err := s.read(told); err == nil {
			known[told.ID] = sandbox{Sandbox: told, pod: pod, serial: uint64(i)}
		}
	}
	s.mu.Lock()
	s.known, s.serial = known, max(s.serial, uint64(len(all)))
	s.mu.Unlock()
	s.trigger.sandboxesChanged()
	return nil
}

// added returns when packets of the new pod are judged by its policies, or when ctx ends.
func (s *sandboxes) added(ctx context.Context, told nri.Sandbox) error {
	pod, err := s.read(told)
	if err != nil {
		return err
	}
	if len(pod.Addrs) == 0 {
		pod.Addrs = told.Addrs
	}
	ready := make(chan struct{})
	s.mu.Lock()
	s.serial++
	s.known[told.ID] = sandbox{Sandbox: told, pod: pod, serial: s.serial}
	s.waiting[told.ID] = ready
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, told.ID)
		s.mu.Unlock()
	}()
	s.trigger.sandboxesChanged()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the policies of pod %s/%s are not loaded yet: %w", told.Namespace, told.Name, ctx.Err())
	}
}

// removed forgets a sandbox. Its interface is judged for as long as it is known by the pod's address.
func (s *sandboxes) removed(told nri.Sandbox) {
	s.mu.Lock()
	delete(s.known, told.ID)
	s.mu.Unlock()
	s.trigger.sandboxesChanged()
}

// list is what is known, by namespace and name of the pod, the latest of a pod first.
func (s *sandboxes) list() []sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]sandbox, 0, len(s.known))
	for _, known := range s.known {
		all = append(all, known)
	}
	slices.SortFunc(all, func(a, b sandbox) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(b.serial, a.serial))
	})
	return all
}

// judged lets the pods go whose every interface is.
func (s *sandboxes) judged(isJudged func(ifindex uint32) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, ready := range s.waiting {
		if known, found := s.known[id]; found && !slices.ContainsFunc(known.pod.Interfaces, func(i uint32) bool { return !isJudged(i) }) {
			close(ready)
			delete(s.waiting, id)
		}
	}
}

// isOf says whether the sandbox is this very pod's, and not one's of the same name before it. The runtime calls a
// static pod by what its mirror has in an annotation.
func (s *sandbox) isOf(p *corev1.Pod) bool {
	return p.Namespace == s.Namespace && p.Name == s.Name &&
		(string(p.UID) == s.UID || p.Annotations[inventory.AnnotationMirror] == s.UID)
}
