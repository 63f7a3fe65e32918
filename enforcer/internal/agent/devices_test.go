// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/hostnet"
	"github.com/bulkhead-dev/bulkhead/test/node"
)

// The ptp plugin gives every pod's veth the address of the pods' gateway, which is one of the node's own.
func TestVethsOfPodsAreNotTakenForUplinks(t *testing.T) {
	network, err := hostnet.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	m := newMirror("here", false)
	m.nodes["here"] = &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Address: "192.0.2.1"}}}}
	u := &updater{shared: shared{node: "here", log: slog.New(slog.DiscardHandler)}, network: network, mirror: m}
	p := node.NewPod(t, "unknown", "10.94.1.2")
	if err := u.lookAround(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(u.interfaces, node.Gateway4) {
		t.Fatalf("the veth has no address of the node's: %v", u.interfaces)
	}
	if !slices.Contains(u.devices.Veths, p.Ifindex) || slices.Contains(u.devices.Exempt, p.Ifindex) {
		t.Errorf("interface %d of a pod is not held back: %+v", p.Ifindex, u.devices)
	}
}
