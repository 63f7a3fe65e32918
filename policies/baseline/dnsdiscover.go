// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

const openShiftDNS = "openshift-dns"

// DNSSources are the objects of a cluster that tell where its DNS answers, and what people said of it.
type DNSSources struct {
	// Services, of DNSNamespaces and of Configured's namespace at least.
	Services []*corev1.Service
	// DaemonSets, of kube-system at least. Others than those of node-local caches are passed over.
	DaemonSets []*appsv1.DaemonSet
	// Configured is the one DNS Service, should it be there. Empty: it is detected.
	Configured types.NamespacedName
	// NodeLocal holds the addresses of node-local caches. Empty: they are read from DaemonSets.
	NodeLocal []netip.Addr
}

// DNSNamespaces returns the namespaces in which DiscoverDNS looks for Services. The caller owns the slice.
func DNSNamespaces() []string { return []string{"kube-system", openShiftDNS} }

// ParseDNSService reads the value of a flag --dns-service: namespace/name, or empty for none. The error names the flag.
func ParseDNSService(text string) (types.NamespacedName, error) {
	if text == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, _ := strings.Cut(text, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Label(name)) > 0 {
		return types.NamespacedName{}, fmt.Errorf("--dns-service %q: give it as namespace/name, e.g. kube-system/kube-dns", text)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// DiscoverDNS finds the cluster's DNS. The configured Service alone counts if it is there. Otherwise
// these do, all of them, because a cluster may have several DNS deployments, or be moving from
// one to another: kube-system/kube-dns, openshift-dns/dns-default, and Services of kube-system that
// are labelled k8s-app=kube-dns or have coredns in their name; each with a port 53.
//
// The answer does not depend on the order of the objects.
func DiscoverDNS(sources DNSSources) DNSTargets {
	var targets DNSTargets
	var clusterIPs []string
	var unusable []error
	for _, service := range sources.services() {
		pods, err := podsBehind(service)
		if err != nil {
			unusable = append(unusable, err)
			continue
		}
		targets.Pods = addPods(targets.Pods, pods)
		clusterIPs = append(clusterIPs, service.Spec.ClusterIPs...)
		clusterIPs = append(clusterIPs, service.Spec.ClusterIP) // YAML may have this one alone
	}
	addrs, caches := sources.nodeLocal()
	if len(targets.Pods) == 0 {
		targets = DefaultDNS()
		if len(sources.NodeLocal) == 0 { // else people said where it answers
			targets.Assumed = notFound(unusable)
		}
	}
	for _, pods := range caches {
		targets.Pods = addPods(targets.Pods, pods)
	}
	targets.NodeLocal = nodeLocalPrefixes(addrs, clusterIPs)
	return targets
}

// notFound says in one line why there is no DNS.
func notFound(unusable []error) string {
	if len(unusable) == 0 {
		return "no DNS Service was found in kube-system or openshift-dns: name the Service that pods send their queries to"
	}
	return strings.ReplaceAll(errors.Join(unusable...).Error(), "\n", "; ")
}

// services returns the DNS Services, sorted.
func (s DNSSources) services() []*corev1.Service {
	var found []*corev1.Service
	for _, service := range s.Services {
		if service.Namespace == s.Configured.Namespace && service.Name == s.Configured.Name {
			return []*corev1.Service{service}
		}
		if looksLikeDNS(service) {
			found = append(found, service)
		}
	}
	slices.SortFunc(found, func(a, b *corev1.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return found
}

// looksLikeDNS goes by what only administrators can make: objects in system namespaces.
func looksLikeDNS(service *corev1.Service) bool {
	switch service.Namespace {
	case "kube-system":
		return service.Name == "kube-dns" || service.Labels["k8s-app"] == "kube-dns" || strings.Contains(service.Name, "coredns")
	case openShiftDNS:
		return service.Name == "dns-default"
	}
	return false
}

// addPods adds a deployment, or its ports where several Services select the same pods.
func addPods(all []DNSPods, pods DNSPods) []DNSPods {
	at := slices.IndexFunc(all, func(p DNSPods) bool {
		return p.Namespace == pods.Namespace && maps.Equal(p.Selector, pods.Selector)
	})
	if at < 0 {
		return append(all, pods)
	}
	for _, port := range pods.Ports {
		if !slices.Contains(all[at].Ports, port) {
			all[at].Ports = append(all[at].Ports, port)
		}
	}
	return all
}
