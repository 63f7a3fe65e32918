// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// LoadTable loads chains of nftables rules as a table of family inet, until the test ends.
func LoadTable(t testing.TB, name, chains string) {
	t.Helper()
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = strings.NewReader(fmt.Sprintf("table inet %s {\n%s\n}\n", name, chains))
	if out, err := nft.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("nft", "delete", "table", "inet", name).CombinedOutput(); err != nil {
			t.Errorf("nft: %v\n%s", err, out)
		}
	})
}

// Translate does what kube-proxy would, for TCP and UDP: port 80 of a Service leads to port 8080 of the pod, and port
// 81 to port 8080 of the node itself. Each has an address of IPv4, and one of IPv6.
func Translate(t testing.TB, service, pod []string) {
	t.Helper()
	rules := "chain prerouting {\n type nat hook prerouting priority dstnat;\n"
	for i, family := range []string{"ip", "ip6"} {
		backends := map[int]string{80: pod[i], 81: []netip.Addr{Gateway4, Gateway6}[i].String()}
		for port, backend := range backends {
			for _, protocol := range []string{"tcp", "udp"} {
				rules += fmt.Sprintf("%s daddr %s %s dport %d dnat %s to %s;\n", family, service[i], protocol, port, family, net.JoinHostPort(backend, "8080"))
			}
		}
	}
	LoadTable(t, "services", rules+"}")
}
