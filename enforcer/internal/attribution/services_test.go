// SPDX-License-Identifier: Apache-2.0

package attribution_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/attribution"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func service(name, clusterIP string, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	s.Spec.ClusterIP, s.Spec.Ports = clusterIP, ports
	return s
}

// everywhere is reached at a cluster address, an external one, a load balancer's, and at ports of nodes.
func everywhere() *corev1.Service {
	s := service("web", "10.96.0.1", corev1.ServicePort{Port: 80, NodePort: 30080}, corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolUDP})
	s.Spec.Type, s.Spec.ClusterIPs = corev1.ServiceTypeLoadBalancer, []string{"10.96.0.1", "fd96::1"}
	s.Spec.ExternalIPs = []string{"192.0.2.80"}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.81"}, {Hostname: "web.example"}}
	return s
}

func TestServiceThatWasAskedFor(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	b.Services([]*corev1.Service{everywhere(), service("headless", "None", corev1.ServicePort{Port: 80})}, nil, at(0))
	b.Addresses([]netip.Addr{netip.MustParseAddr("192.0.2.1")})
	for _, c := range []struct {
		asked, to, want string // asked: before translation, empty if nobody translated
		protocol        uint8
	}{
		{"10.96.0.1:80", "10.0.0.2:8080", "web", unix.IPPROTO_TCP},
		{"10.96.0.1:80", "10.0.0.2:8080", "web", unix.IPPROTO_UDP},
		{"[fd96::1]:80", "[fd00::2]:8080", "web", unix.IPPROTO_TCP},
		{"192.0.2.80:80", "10.0.0.2:8080", "web", unix.IPPROTO_TCP},
		{"192.0.2.81:80", "10.0.0.2:8080", "web", unix.IPPROTO_TCP},
		{"192.0.2.1:30080", "10.0.0.2:8080", "web", unix.IPPROTO_TCP},
		{"", "10.96.0.1:80", "web", unix.IPPROTO_TCP},
		{"10.96.0.1:80", "10.0.0.2:8080", "", unix.IPPROTO_SCTP},
		{"10.96.0.1:81", "10.0.0.2:8080", "", unix.IPPROTO_TCP},
		{"10.96.0.2:80", "10.0.0.2:8080", "", unix.IPPROTO_TCP},
		{"192.0.2.1:30080", "10.0.0.2:8080", "", unix.IPPROTO_UDP},
		{"192.0.2.2:30080", "10.0.0.2:8080", "", unix.IPPROTO_TCP}, // not this node's
		{"", "192.0.2.1:30080", "", unix.IPPROTO_TCP},              // ended at the node
		{"", "10.0.0.2:80", "", unix.IPPROTO_TCP},
	} {
		to := netip.MustParseAddrPort(c.to)
		r := record("10.0.0.9", to.Addr().String(), at(1))
		r.Port, r.Protocol = to.Port(), c.protocol
		if c.asked != "" {
			r.Service = netip.MustParseAddrPort(c.asked)
		}
		if got := one(b, r).GetDestinationService(); got.GetName() != c.want || (got != nil) != (c.want != "") {
			t.Errorf("%s, translated to %s: %v, want %q", c.asked, c.to, got, c.want)
		}
		r.Direction = netpol.Ingress
		if got := one(b, r).GetDestinationService(); got != nil {
			t.Errorf("the backend's side of %s names %v", c.asked, got)
		}
	}
}

// An address is of the Service that had it then; of several, of the last by name.
func TestServicesChange(t *testing.T) {
	b := attribution.NewBook("node-1", noOwners)
	port := corev1.ServicePort{Port: 80}
	shop := func(name string) []types.NamespacedName {
		return []types.NamespacedName{{Namespace: "shop", Name: name}}
	}
	b.Services([]*corev1.Service{service("old", "10.96.0.1", port)}, nil, at(0))
	b.Services(nil, shop("old"), at(10))
	b.Services([]*corev1.Service{service("new", "10.96.0.1", port), service("also", "10.96.0.1", port)}, nil, at(20))
	b.Services([]*corev1.Service{service("new", "10.96.0.1", corev1.ServicePort{Port: 81})}, nil, at(30))
	named := func(seconds int) string {
		r := record("10.0.0.9", "10.0.0.2", at(seconds))
		r.Service = netip.MustParseAddrPort("10.96.0.1:80")
		return one(b, r).GetDestinationService().GetName()
	}
	for seconds, want := range map[int]string{5: "old", 10: "old", 25: "new", 35: "also"} {
		if got := named(seconds); got != want {
			t.Errorf("after %d s: %q, want %q", seconds, got, want)
		}
	}
	b.Services(nil, shop("also"), at(40))
	b.Pods(nil, nil, at(1000)) // forgets what is long past
	for _, seconds := range []int{5, 25, 35, 45} {
		if got := named(seconds); got != "" {
			t.Errorf("after a quarter of an hour a Service is still remembered: %q", got)
		}
	}
}
