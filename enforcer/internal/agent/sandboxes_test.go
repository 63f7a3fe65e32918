// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/nri"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// The runtime's paths are the node's; in the enforcer's container the directory is mounted at another one.
func TestSandboxIsFoundWhereItIsMounted(t *testing.T) {
	network, err := hostnet.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	p, mounted := node.NewPod(t, "vsandbox", "10.99.40.2"), t.TempDir()
	pin := filepath.Join(mounted, "cni-1")
	if err := os.WriteFile(pin, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := p.Do(func() error { return unix.Mount("/proc/thread-self/ns/net", pin, "", unix.MS_BIND, "") }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(pin, unix.MNT_DETACH) })

	told := nri.Sandbox{ID: "1", Namespace: "shop", Name: "api", NetNS: "/no/such/directory/cni-1"}
	changes := newTrigger()
	s := newSandboxes(network, mounted, changes)
	answered := make(chan error)
	go func() { answered <- s.added(t.Context(), told) }()
	if _, err := changes.next(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if known := s.list(); len(known) != 1 || !slices.Equal(known[0].pod.Interfaces, []uint32{p.Ifindex}) {
		t.Errorf("known: %+v, want interface %d", known, p.Ifindex)
	}
	s.judged(func(ifindex uint32) bool { return ifindex == p.Ifindex })
	if err := <-answered; err != nil {
		t.Errorf("added: %v", err)
	}
	if err := s.synchronized(t.Context(), []nri.Sandbox{told}); err != nil || len(s.list()) != 1 {
		t.Errorf("synchronized: %v, %+v", err, s.list())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.added(ended, told); err == nil {
		t.Error("a pod whose policies are not loaded is said to be ready")
	}
}
