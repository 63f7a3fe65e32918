// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Pod is a network namespace and how the node reaches it.
type Pod struct {
	// Interfaces are the indices of the node's ends of its veth pairs, sorted; never empty.
	Interfaces []uint32
	// Addrs are the addresses that it has, IPv4 unmapped; empty: none yet.
	Addrs []netip.Addr
}

// Pod reads the network namespace that is pinned at path, for example at /run/netns/cni-…. Unlike
// an address, which a pod that may do so can give itself, the path is the runtime's word. It errs with
// ErrNoInterface if no veth pair leads from here to there.
func (n *Network) Pod(path string) (Pod, error) {
	file, err := openPin(path)
	if err != nil {
		return Pod{}, fmt.Errorf("open a pod's network namespace: %w", err)
	}
	defer file.Close() // as long as it is open, the namespace keeps its id
	n.mu.Lock()
	defer n.mu.Unlock()
	for range 2 { // the first list gives namespaces an id that have none
		id, err := n.handle.GetNetNsIdByFd(int(file.Fd()))
		if err != nil {
			return Pod{}, fmt.Errorf("identify the network namespace %s: %w", path, err)
		}
		links, err := n.socket.links()
		if err != nil {
			return Pod{}, err
		}
		if veths := groupByNamespace(links)[int32(id)]; len(veths) > 0 {
			addrs, err := n.socket.addrsIn(int32(id))
			return Pod{Interfaces: indices(veths), Addrs: addrs}, err
		}
	}
	return Pod{}, fmt.Errorf("%w: no veth interface of this node leads to the network namespace %s", ErrNoInterface, path)
}

// openPin does not wait where something else than a namespace is at path.
func openPin(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) }
