// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// DNS is what people said of where the cluster's DNS answers. Say the same to onboarding: then the
// baseline is the same. The zero value: it is detected, as onboarding does.
type DNS struct {
	// Service alone counts, if the inventory has it. Empty: all DNS Services that are detected do.
	Service types.NamespacedName
	// NodeLocal holds the addresses of node-local caches. Empty: they are detected.
	NodeLocal []netip.Addr
}

// ParseDNS reads the values of the flags --dns-service (namespace/name, or empty) and --dns-node-local
// (addresses). The error names the flag.
func ParseDNS(service string, nodeLocal []string) (DNS, error) {
	var (
		dns  DNS
		errs []error
		err  error
	)
	if dns.Service, err = baseline.ParseDNSService(service); err != nil {
		errs = append(errs, err)
	}
	for _, text := range nodeLocal {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			errs = append(errs, fmt.Errorf("--dns-node-local %q is not an address such as 169.254.20.10", text))
		}
		dns.NodeLocal = append(dns.NodeLocal, addr)
	}
	if len(errs) > 0 {
		return DNS{}, errors.Join(errs...)
	}
	return dns, nil
}

// Words are the flags that say the same on a command line.
func (d DNS) Words() []string {
	var words []string
	if d.Service.Name != "" {
		words = append(words, "--dns-service", d.Service.String())
	}
	if len(d.NodeLocal) > 0 {
		var addrs []string
		for _, addr := range d.NodeLocal {
			addrs = append(addrs, addr.String())
		}
		words = append(words, "--dns-node-local", strings.Join(addrs, ","))
	}
	return words
}

// Targets are where DNS answers in the inventory's cluster.
func (d DNS) Targets(inv *inventory.Inventory) baseline.DNSTargets {
	sources := inv.DNSSources()
	sources.Configured, sources.NodeLocal = d.Service, d.NodeLocal
	return baseline.DiscoverDNS(sources)
}
