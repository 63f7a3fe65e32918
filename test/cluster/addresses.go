// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/netip"
)

// Addresses of a cluster with nodes. They need not be free on this machine, and clusters beside each other have the
// same: each has networks of its own.
var (
	// Services is the range of the addresses of Services.
	Services = netip.MustParsePrefix("10.96.0.0/16")
	// PodAddresses holds the ranges of all nodes' pods.
	PodAddresses = netip.MustParsePrefix("10.244.0.0/16")

	nodeNetwork = netip.MustParsePrefix("172.30.0.0/24")
	// gateway is the address of what is outside of the cluster.
	gateway    = netip.MustParseAddr("172.30.0.254")
	apiService = netip.MustParseAddr("10.96.0.1")
	dnsService = netip.MustParseAddr("10.96.0.10")
)

// apiPort is the API server's on the first node.
const apiPort = "6443"

// maxNodes is how many fit in front of the gateway.
const maxNodes = 100

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

func nodeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 30, 0, byte(i)}) }

func podRange(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i), 0}), 24)
}
