// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

var update = flag.Bool("update", false, "write the expected policies anew")

// cluster is what the manifest of one kind of cluster has.
type cluster struct {
	services   []*corev1.Service
	daemonSets []*appsv1.DaemonSet
	pods       []*corev1.Pod
}

func readCluster(t *testing.T, name string) cluster {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/dns", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c cluster
	for _, document := range strings.Split(string(text), "\n---\n")[1:] { // a comment comes first
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "Service":
			c.services = append(c.services, decode[corev1.Service](t, document))
		case "DaemonSet":
			c.daemonSets = append(c.daemonSets, decode[appsv1.DaemonSet](t, document))
		case "Pod":
			c.pods = append(c.pods, decode[corev1.Pod](t, document))
		default:
			t.Fatalf("%s.yaml has a %s", name, kind.Kind)
		}
	}
	return c
}

func decode[T any](t *testing.T, document string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return object
}

func (c cluster) sources() DNSSources {
	return DNSSources{Services: c.services, DaemonSets: c.daemonSets}
}

// withPolicies has all that the policy engine needs to judge pod shop/client, in a namespace with both policies.
func (c cluster) withPolicies(t *testing.T, targets DNSTargets) *netpol.Snapshot {
	t.Helper()
	client := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "client"},
		Status:     corev1.PodStatus{PodIP: "198.51.100.1", PodIPs: []corev1.PodIP{{IP: "198.51.100.1"}, {IP: "2001:db8::1"}}},
	}
	objects := netpol.Objects{
		Pods: append([]*corev1.Pod{client}, c.pods...), Services: c.services,
		Policies: []*networkingv1.NetworkPolicy{DefaultDeny("shop"), DNS("shop", targets)},
	}
	for _, name := range []string{"kube-system", "openshift-dns", "shop"} {
		objects.Namespaces = append(objects.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	snapshot, err := netpol.Compile(objects)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

const on53 = "TCP/53 UDP/53"

// clusters are those in testdata/dns: the Services that pods ask, the pods that answer and on what, and the
// caches on the node.
var clusters = []struct {
	name, services, pods, ports, caches string
}{
	{"kubeadm", "kube-system/kube-dns", "kube-system/coredns-a kube-system/coredns-b", on53, ""},
	{"kubeadm-node-local", "kube-system/kube-dns", "kube-system/coredns-a", on53, "169.254.20.10 10.96.0.10"},
	{"kubeadm-dual-stack", "kube-system/kube-dns", "kube-system/coredns-a", on53, "169.254.20.10 fd00:169:254::a 10.96.0.10 fd00:10:96::a"},
	{"k3s", "kube-system/kube-dns", "kube-system/coredns-a", on53, ""},
	{"rke2", "kube-system/rke2-coredns-rke2-coredns", "kube-system/rke2-coredns-a", on53, "169.254.20.10 10.43.0.10"},
	{"openshift", "openshift-dns/dns-default", "openshift-dns/dns-default-a openshift-dns/dns-default-b", "TCP/5353 UDP/5353", ""},
	{"gke", "kube-system/kube-dns", "kube-system/kube-dns-a", on53, "169.254.20.10 34.118.224.10"},
	{"gke-dataplane-v2", "kube-system/kube-dns", "kube-system/kube-dns-a kube-system/node-local-dns-a", on53, ""},
	{"eks", "kube-system/kube-dns", "kube-system/coredns-a", on53, ""},
	{"aks", "kube-system/kube-dns", "kube-system/coredns-a", on53, ""},
	{"kubespray", "kube-system/coredns kube-system/coredns-secondary", "kube-system/coredns-a kube-system/coredns-secondary-a", on53, "169.254.25.10"},
}

func TestPoliciesOfDistributions(t *testing.T) {
	for _, test := range clusters {
		targets := DiscoverDNS(readCluster(t, test.name).sources())
		if targets.Assumed != "" {
			t.Errorf("%s: %s", test.name, targets.Assumed)
		}
		got, err := yaml.Marshal(DNS("shop", targets))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata/dns", test.name+".golden.yaml")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s (-update if it is right):\n%s\nwant:\n%s", test.name, got, want)
		}
	}
}

// A pod reaches DNS in every way that it is asked, and nothing else: no other pod, and no other port.
func TestOnlyDNSIsReached(t *testing.T) {
	client := types.NamespacedName{Namespace: "shop", Name: "client"}
	for _, test := range clusters {
		t.Run(test.name, func(t *testing.T) {
			c := readCluster(t, test.name)
			snapshot := c.withPolicies(t, DiscoverDNS(c.sources()))
			from := snapshot.Endpoint(client)
			for _, pod := range c.pods {
				name, want := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}, "none"
				if slices.Contains(strings.Fields(test.pods), name.String()) {
					want = test.ports
				}
				if got := snapshot.Allowed(from, snapshot.Endpoint(name)).String(); got != want {
					t.Errorf("pod %s: %s, want %s", name, got, want)
				}
			}
			for _, service := range strings.Fields(test.services) {
				reachesService(t, snapshot, client, c, service)
			}
			for _, cache := range strings.Fields(test.caches) {
				if got := snapshot.Allowed(from, snapshot.EndpointAt(netip.MustParseAddr(cache))).String(); got != on53 {
					t.Errorf("cache %s: %s, want %s", cache, got, on53)
				}
			}
			for _, elsewhere := range []string{"169.254.169.254", "192.0.2.1", "2001:db8::53"} {
				if got := snapshot.Allowed(from, snapshot.EndpointAt(netip.MustParseAddr(elsewhere))); !got.Empty() {
					t.Errorf("%s: %s, want none", elsewhere, got)
				}
			}
		})
	}
}

// reachesService asks the Service by name and by each of its addresses.
func reachesService(t *testing.T, snapshot *netpol.Snapshot, client types.NamespacedName, c cluster, name string) {
	t.Helper()
	at := slices.IndexFunc(c.services, func(s *corev1.Service) bool { return s.Namespace+"/"+s.Name == name })
	service := c.services[at]
	ways := []netpol.Peer{{Service: types.NamespacedName{Namespace: service.Namespace, Name: service.Name}}}
	for _, ip := range service.Spec.ClusterIPs {
		ways = append(ways, netpol.Peer{Addr: netip.MustParseAddr(ip)})
	}
	for _, to := range ways {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
			connection := netpol.Connection{From: netpol.Peer{Pod: client}, To: to, Protocol: protocol, Port: 53}
			if verdict := snapshot.Evaluate(connection); !verdict.Allowed || verdict.Resolved == nil {
				t.Errorf("%+v: %+v", connection, verdict)
			}
		}
	}
}

func TestConfiguredDNSOverridesWhatIsDetected(t *testing.T) {
	c := readCluster(t, "kubeadm-node-local")
	ours := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "resolver"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "resolver"}, Ports: []corev1.ServicePort{{Port: 53}}},
	}
	c.services = append(c.services, ours)
	sources := c.sources()
	sources.Configured = types.NamespacedName{Namespace: "infra", Name: "resolver"}
	sources.NodeLocal = []netip.Addr{netip.MustParseAddr("169.254.169.254")}
	got := DiscoverDNS(sources)
	if len(got.Pods) != 1 || got.Pods[0].Namespace != "infra" || got.Assumed != "" {
		t.Errorf("got %+v, want infra/resolver alone", got)
	}
	if len(got.NodeLocal) != 1 || got.NodeLocal[0].String() != "169.254.169.254/32" {
		t.Errorf("caches %v, want the named one alone", got.NodeLocal)
	}
	sources.Configured.Name = "absent"
	if got := DiscoverDNS(sources); got.Pods[0].Selector["k8s-app"] != "kube-dns" || got.Assumed != "" {
		t.Errorf("got %+v, want what is detected", got)
	}
}

func TestWhereNoDNSIsFound(t *testing.T) {
	noPort, noPorts := dnsService(corev1.ServicePort{Port: 9153}), dnsService()
	noSelector := dnsService(corev1.ServicePort{Port: 53})
	noSelector.Spec.Selector = nil
	forged := dnsService(corev1.ServicePort{Port: 53})
	forged.Namespace = "shop"
	for name, test := range map[string]struct {
		sources DNSSources
		want    string // part of Assumed; empty: it is empty
	}{
		"nothing":           {DNSSources{}, "no DNS Service was found"},
		"no port":           {DNSSources{Services: []*corev1.Service{noPort}}, "kube-system/kube-dns has no UDP or TCP port 53"},
		"no ports":          {DNSSources{Services: []*corev1.Service{noPorts}}, "kube-dns has no UDP or TCP port 53: name the Servi"},
		"no selector":       {DNSSources{Services: []*corev1.Service{noSelector}}, "kube-system/kube-dns has no selector"},
		"another namespace": {DNSSources{Services: []*corev1.Service{forged}}, "no DNS Service was found"},
		"caches are named":  {DNSSources{NodeLocal: []netip.Addr{usualNodeLocal}}, ""},
	} {
		got := DiscoverDNS(test.sources)
		if !strings.Contains(got.Assumed, test.want) || (got.Assumed == "") != (test.want == "") {
			t.Errorf("%s: assumed because %q, want %q", name, got.Assumed, test.want)
		}
		if len(got.Pods) != 1 || got.Pods[0].Selector["k8s-app"] != "kube-dns" {
			t.Errorf("%s: %+v, want the usual pods", name, got.Pods)
		}
	}
}

func TestAnswerDoesNotDependOnOrder(t *testing.T) {
	for _, test := range clusters {
		c := readCluster(t, test.name)
		want, _ := yaml.Marshal(DNS("shop", DiscoverDNS(c.sources())))
		slices.Reverse(c.services)
		slices.Reverse(c.daemonSets)
		if got, _ := yaml.Marshal(DNS("shop", DiscoverDNS(c.sources()))); string(got) != string(want) {
			t.Errorf("%s: in reverse order:\n%s\nwant:\n%s", test.name, got, want)
		}
	}
}

func TestLocalIPs(t *testing.T) {
	for args, want := range map[string]string{
		"-localip 169.254.25.10":                       "169.254.25.10",
		"--localip=169.254.20.10,fd00::a -conf=x":      "169.254.20.10 fd00::a",
		"-localip __PILLAR__LOCAL__DNS__":              "169.254.20.10",
		"-localip":                                     "169.254.20.10",
		"-conf /etc/Corefile":                          "169.254.20.10",
		"-localip fe80::1%eth0,10.0.0.10":              "10.0.0.10",
		"-upstreamsvc localip -localip=169.254.20.11":  "169.254.20.11",
		"/node-cache -localip 169.254.20.12 -health 1": "169.254.20.12",
	} {
		for _, container := range []corev1.Container{{Args: strings.Fields(args)}, {Command: []string{args}}} {
			var got []string
			for _, addr := range localIPs([]corev1.Container{container}) {
				got = append(got, addr.String())
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %v, want %s", args, got, want)
			}
		}
	}
}
