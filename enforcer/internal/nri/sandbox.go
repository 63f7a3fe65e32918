// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"net/netip"

	"github.com/containerd/nri/pkg/api"
)

// Sandbox is what the containers of a pod run in. A pod has another one after its sandbox was made anew.
type Sandbox struct {
	// ID is the runtime's name for the sandbox.
	ID string
	// Namespace, Name and UID are the pod's. For a static pod the UID is not the one in the API server.
	Namespace, Name, UID string
	// Labels are the pod's when the sandbox was made, and the kubelet's io.kubernetes.… ones.
	Labels map[string]string
	// NetNS is the path, on the node, of the network namespace. Empty: the pod is on the node's own network,
	// its network has been taken down, or the runtime does not tell.
	NetNS string
	// Addrs are the pod's addresses, the first one first, IPv4 unmapped. Empty: as NetNS.
	Addrs []netip.Addr
}

func newSandbox(p *api.PodSandbox) Sandbox {
	s := Sandbox{ID: p.GetId(), Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid(), Labels: p.GetLabels()}
	for _, ns := range p.GetLinux().GetNamespaces() {
		if ns.GetType() == "network" {
			s.NetNS = ns.GetPath()
		}
	}
	for _, ip := range p.GetIps() {
		if addr, err := netip.ParseAddr(ip); err == nil {
			s.Addrs = append(s.Addrs, addr.Unmap().WithZone(""))
		}
	}
	return s
}

func (s Sandbox) hasNetwork() bool { return s.NetNS != "" || len(s.Addrs) > 0 }
