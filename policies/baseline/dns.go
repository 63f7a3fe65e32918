// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const dnsPort = 53

// DNSTargets is where a cluster's DNS answers, seen after service translation: the pods and the
// ports they listen on (OpenShift's is 5353, not 53), not the Services.
type DNSTargets struct {
	Pods []DNSPods // never empty
	// NodeLocal holds addresses of caches on the nodes' own network (NodeLocal DNSCache).
	// Empty: there are none.
	NodeLocal []netip.Prefix
	// Assumed says why nothing was found, so that the pods are those of nearly every cluster.
	// Empty: they were found, or the caller asked for them.
	Assumed string
}

// DNSPods are the pods of one DNS deployment.
type DNSPods struct {
	Namespace string
	Selector  map[string]string // matchLabels; never empty
	Ports     []DNSPort         // at the pods; never empty
}

// DNSPort is one port of the DNS pods, by number or by name.
type DNSPort struct {
	Protocol corev1.Protocol // UDP or TCP
	Port     intstr.IntOrString
}

// DefaultDNS is what nearly every cluster has: pods k8s-app=kube-dns in kube-system on port 53.
// It serves where no DNS Service can be read.
func DefaultDNS() DNSTargets {
	pods := DNSPods{Namespace: "kube-system", Selector: map[string]string{"k8s-app": "kube-dns"}, Ports: untranslated()}
	return DNSTargets{Pods: []DNSPods{pods}}
}

// podsBehind reads one DNS Service: its selector and the target ports behind its port 53. It is an error
// when it has no selector or no UDP or TCP port 53: then nothing can be said about the pods that answer.
func podsBehind(service *corev1.Service) (DNSPods, error) {
	name := service.Namespace + "/" + service.Name
	if len(service.Spec.Selector) == 0 {
		return DNSPods{}, fmt.Errorf("DNS Service %s has no selector: name the Service that selects the DNS pods", name)
	}
	ports := dnsPorts(service)
	if len(ports) == 0 {
		return DNSPods{}, fmt.Errorf("DNS Service %s has no UDP or TCP port 53: name the Service that pods send their queries to", name)
	}
	return DNSPods{Namespace: service.Namespace, Selector: maps.Clone(service.Spec.Selector), Ports: ports}, nil
}

func dnsPorts(service *corev1.Service) []DNSPort {
	var ports []DNSPort
	for _, p := range service.Spec.Ports {
		protocol := p.Protocol
		if protocol == "" { // as the API server defaults it; the Service may come from YAML
			protocol = corev1.ProtocolTCP
		}
		if p.Port != dnsPort || protocol != corev1.ProtocolUDP && protocol != corev1.ProtocolTCP {
			continue
		}
		target := p.TargetPort
		if target == (intstr.IntOrString{}) {
			target = intstr.FromInt32(p.Port)
		}
		ports = append(ports, DNSPort{Protocol: protocol, Port: target})
	}
	return ports
}

// untranslated are the ports of a server that listens on DNS's own.
func untranslated() []DNSPort {
	return []DNSPort{
		{Protocol: corev1.ProtocolUDP, Port: intstr.FromInt32(dnsPort)},
		{Protocol: corev1.ProtocolTCP, Port: intstr.FromInt32(dnsPort)},
	}
}

// nodeLocalPrefixes are the addresses of caches as prefixes, each once, and where there are any, the DNS
// Services' own: such a cache answers on those, too, from the node.
func nodeLocalPrefixes(nodeLocal []netip.Addr, clusterIPs []string) []netip.Prefix {
	if len(nodeLocal) == 0 {
		return nil
	}
	all := slices.Clone(nodeLocal)
	for _, ip := range clusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil { // "None" for a headless Service
			all = append(all, addr)
		}
	}
	var prefixes []netip.Prefix
	for _, addr := range all {
		if prefix := netip.PrefixFrom(addr, addr.BitLen()); !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}
