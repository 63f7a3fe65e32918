// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const dnsPort = 53

// DNSTargets is where a cluster's DNS answers, seen after service translation: the pods and the
// ports they listen on (OpenShift's is 5353, not 53), not the Service.
type DNSTargets struct {
	Namespace   string            // of the DNS pods
	PodSelector map[string]string // matchLabels of the DNS pods; never empty
	Ports       []DNSPort         // at the DNS pods; never empty
	// NodeLocal holds addresses of caches on the nodes' own network (NodeLocal DNSCache).
	// Empty: there are none.
	NodeLocal []netip.Prefix
}

// DNSPort is one port of the DNS pods, by number or by name.
type DNSPort struct {
	Protocol corev1.Protocol // UDP or TCP
	Port     intstr.IntOrString
}

// DefaultDNS is what nearly every cluster has: pods k8s-app=kube-dns in kube-system on port 53.
// It serves where the DNS Service cannot be read. nodeLocal are as for DetectDNS.
func DefaultDNS(nodeLocal ...netip.Addr) DNSTargets {
	return DNSTargets{
		Namespace:   "kube-system",
		PodSelector: map[string]string{"k8s-app": "kube-dns"},
		Ports: []DNSPort{
			{Protocol: corev1.ProtocolUDP, Port: intstr.FromInt32(dnsPort)},
			{Protocol: corev1.ProtocolTCP, Port: intstr.FromInt32(dnsPort)},
		},
		NodeLocal: nodeLocalPrefixes(nodeLocal, nil),
	}
}

// DetectDNS reads the targets from the cluster's DNS Service: its selector and the target ports
// behind its port 53. nodeLocal are the addresses of node-local caches; when there are any, the
// Service's own addresses are added, because such a cache also answers on those, from the node.
//
// It is an error when the Service has no selector or no UDP or TCP port 53: then nothing can be
// said about the pods that answer.
func DetectDNS(service *corev1.Service, nodeLocal ...netip.Addr) (DNSTargets, error) {
	name := service.Namespace + "/" + service.Name
	if len(service.Spec.Selector) == 0 {
		return DNSTargets{}, fmt.Errorf("DNS Service %s has no selector: name the Service that selects the DNS pods", name)
	}
	ports := dnsPorts(service)
	if len(ports) == 0 {
		return DNSTargets{}, fmt.Errorf("DNS Service %s has no UDP or TCP port 53: name the Service that pods send their queries to", name)
	}
	return DNSTargets{
		Namespace:   service.Namespace,
		PodSelector: maps.Clone(service.Spec.Selector),
		Ports:       ports,
		NodeLocal:   nodeLocalPrefixes(nodeLocal, service.Spec.ClusterIPs),
	}, nil
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

func nodeLocalPrefixes(nodeLocal []netip.Addr, clusterIPs []string) []netip.Prefix {
	if len(nodeLocal) == 0 {
		return nil
	}
	var prefixes []netip.Prefix
	for _, addr := range nodeLocal {
		prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
	}
	for _, ip := range clusterIPs {
		if addr, err := netip.ParseAddr(ip); err == nil { // "None" for a headless Service
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return prefixes
}
