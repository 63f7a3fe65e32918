// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

func dnsService(ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"},
		Spec: corev1.ServiceSpec{
			Selector:   map[string]string{"k8s-app": "kube-dns"},
			ClusterIPs: []string{"10.96.0.10", "fd00::a"},
			Ports:      ports,
		},
	}
}

func TestPoliciesAsYAML(t *testing.T) {
	service := dnsService(
		corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP, TargetPort: intstr.FromInt32(5353)},
		corev1.ServicePort{Port: 53, TargetPort: intstr.FromString("dns-tcp")},
		corev1.ServicePort{Port: 9153, Protocol: corev1.ProtocolTCP},
		corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolSCTP},
	)
	targets := DiscoverDNS(DNSSources{Services: []*corev1.Service{service}, NodeLocal: []netip.Addr{netip.MustParseAddr("169.254.20.10")}})
	deny, dns := DefaultDeny("shop"), DNS("shop", targets)
	for name, test := range map[string]struct {
		object any
		want   string
	}{
		DefaultDenyName: {deny.Spec, "podSelector: {}\npolicyTypes:\n- Ingress\n- Egress\n"},
		AllowDNSName: {dns.Spec, `egress:
- ports:
  - port: 5353
    protocol: UDP
  - port: dns-tcp
    protocol: TCP
  to:
  - namespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: kube-system
    podSelector:
      matchLabels:
        k8s-app: kube-dns
- ports:
  - port: 53
    protocol: UDP
  - port: 53
    protocol: TCP
  to:
  - ipBlock:
      cidr: 169.254.20.10/32
  - ipBlock:
      cidr: 10.96.0.10/32
  - ipBlock:
      cidr: fd00::a/128
podSelector: {}
policyTypes:
- Egress
`},
	} {
		got, err := yaml.Marshal(test.object)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != test.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, test.want)
		}
	}
	if deny.Labels[LabelManagedBy] != ManagedByOnboarding || dns.Namespace != "shop" || dns.Kind != "NetworkPolicy" {
		t.Errorf("metadata: %+v %+v", deny.ObjectMeta, dns.ObjectMeta)
	}
}

func TestDNSTargetPortDefaultsToPort(t *testing.T) {
	service := dnsService(corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP})
	targets := DiscoverDNS(DNSSources{Services: []*corev1.Service{service}})
	if got := targets.Pods[0].Ports; len(got) != 1 || got[0].Port.IntValue() != 53 {
		t.Errorf("ports %v, want UDP 53 alone", got)
	}
	if targets.NodeLocal != nil {
		t.Errorf("no node-local cache was named, got %v", targets.NodeLocal)
	}
}

func TestNodeLocalCachesWithoutTheService(t *testing.T) {
	spec := DNS("shop", DiscoverDNS(DNSSources{NodeLocal: []netip.Addr{netip.MustParseAddr("169.254.20.10"), netip.MustParseAddr("fd00::a")}})).Spec
	var blocks []string
	for _, rule := range spec.Egress {
		for _, peer := range rule.To {
			if peer.IPBlock != nil {
				blocks = append(blocks, peer.IPBlock.CIDR)
			}
		}
	}
	if !slices.Equal(blocks, []string{"169.254.20.10/32", "fd00::a/128"}) {
		t.Errorf("address ranges %v", blocks)
	}
}

func TestAddressOfAServiceFromYAML(t *testing.T) {
	service := dnsService(corev1.ServicePort{Port: 53})
	service.Spec.ClusterIP, service.Spec.ClusterIPs = "10.96.0.10", nil
	targets := DiscoverDNS(DNSSources{Services: []*corev1.Service{service}, NodeLocal: []netip.Addr{usualNodeLocal}})
	if !slices.Contains(targets.NodeLocal, netip.MustParsePrefix("10.96.0.10/32")) {
		t.Errorf("caches answer at %v, want the Service's address among them", targets.NodeLocal)
	}
}

func TestModes(t *testing.T) {
	for _, m := range []Mode{Observe, Audit, Enforce} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("ParseMode(%s) = %v, %v", m, got, err)
		}
	}
	for _, bad := range []string{"", "Enforce", "enforced", "off"} {
		if _, err := ParseMode(bad); err == nil {
			t.Errorf("ParseMode(%q) accepted", bad)
		}
	}
	if !Observe.WeakerThan(Audit) || !Audit.WeakerThan(Enforce) || Enforce.WeakerThan(Enforce) {
		t.Error("order of modes is wrong")
	}
	if Observe.NeedsBaseline() || !Audit.NeedsBaseline() || !Enforce.NeedsBaseline() {
		t.Error("baseline is for audit and enforce")
	}
	if m, err := ModeOf(nil); m != Observe || err != nil {
		t.Errorf("no label: %v, %v", m, err)
	}
	if _, err := ModeOf(map[string]string{LabelMode: "off"}); err == nil || !strings.Contains(err.Error(), LabelMode) {
		t.Errorf("bad label: %v", err)
	}
}

func TestNames(t *testing.T) {
	if got := ServiceAccountUser(WebhookServiceAccount); got != "system:serviceaccount:bulkhead-system:bulkhead-webhook" {
		t.Error(got)
	}
	if !IsSystemNamespace("kube-system") || !IsSystemNamespace(ProjectNamespace) || IsSystemNamespace("shop") {
		t.Error("system namespaces")
	}
}
