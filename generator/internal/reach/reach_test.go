// SPDX-License-Identifier: Apache-2.0

package reach_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// input reads manifests.
func input(t testing.TB, manifests ...string) reach.Input {
	t.Helper()
	set, err := manifest.Load([]string{"-"}, strings.NewReader(strings.Join(manifests, "\n---\n")), manifest.Strict)
	if err != nil {
		t.Fatal(err)
	}
	return reach.Input{Objects: set.Netpol(), Workloads: reach.Workloads(inventory.FromSet(set))}
}

func cluster(t testing.TB, manifests ...string) *reach.Cluster {
	t.Helper()
	c, err := reach.New(input(t, manifests...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func namespace(name, labels string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s}}}", name, labels)
}

// deployment has pods with the label app of its own name, and a port named http.
func deployment(namespace, name, port string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[2]s, namespace: %[1]s}, spec: {selector: {matchLabels: {app: %[2]s}},
 template: {metadata: {labels: {app: %[2]s}}, spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: %[3]s}]}]}}}}`, namespace, name, port)
}

func pod(namespace, name, labels, status, more string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s, labels: {%s}}, spec: {containers: [{name: c, image: i}]%s}, status: {%s}}",
		name, namespace, labels, more, status)
}

// policy selects one app; "" selects all pods.
func policy(namespace, name, app, rules string) string {
	selector := "{}"
	if app != "" {
		selector = "{matchLabels: {app: " + app + "}}"
	}
	return fmt.Sprintf("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: %s, namespace: %s}, spec: {podSelector: %s, %s}}", name, namespace, selector, rules)
}

func clusterPolicy(name, tier, subject, rules string) string {
	return fmt.Sprintf("{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: %s}, spec: {tier: %s, priority: 5, subject: %s, %s}}", name, tier, subject, rules)
}

const denyAll = "policyTypes: [Ingress, Egress]"

func from(app string) string { return "{podSelector: {matchLabels: {app: " + app + "}}}" }

// shop is api, reached by web alone, and web, reached from everywhere; both may look up names.
var shop = []string{
	deployment("shop", "web", "8080"), deployment("shop", "api", "3000"), policy("shop", "default", "", denyAll),
	policy("shop", "web", "web", "ingress: [{ports: [{port: http}]}], egress: [{to: ["+from("api")+"], ports: [{port: 3000}]}]"),
	policy("shop", "api", "api", "ingress: [{from: ["+from("web")+"], ports: [{port: http}]}]"),
}

func lines(m *reach.Map) (all []string) {
	for _, l := range m.Lines {
		all = append(all, fmt.Sprintf("%s -> %s %s", l.From, l.To, l.Ports))
	}
	return all
}

func TestFind(t *testing.T) {
	const any4 = "from: [{ipBlock: {cidr: 0.0.0.0/0}}]"
	for _, tt := range []struct {
		name      string
		manifests []string
		want      []string
	}{
		{"without policies everything may pass", []string{deployment("a", "x", "80")}, []string{
			"Deployment a/x -> Deployment a/x all", "Deployment a/x -> 0.0.0.0/0, ::/0 all", "Deployment a/x -> any pod all",
			"0.0.0.0/0, ::/0 -> Deployment a/x all", "any pod -> Deployment a/x all",
		}},
		{"isolated without rules", []string{deployment("a", "x", "80"), policy("a", "p", "", denyAll)}, nil},
		{"a shop", shop, []string{
			"Deployment shop/web -> Deployment shop/api TCP/3000",
			"0.0.0.0/0, ::/0 -> Deployment shop/web TCP/8080", "any pod -> Deployment shop/web TCP/8080",
		}},
		{"labels that no workload has, in the same namespace", []string{
			deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: ["+from("new")+"], ports: [{port: 1}]}], policyTypes: [Ingress, Egress]"),
			policy("a", "q", "new", "egress: [{}]"),
		}, []string{"pods app=new in namespace a -> Deployment a/x TCP/1"}},
		{"their namespace's policies hold them back", []string{
			deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: ["+from("new")+"], ports: [{port: 1}]}], policyTypes: [Ingress, Egress]"),
		}, nil},
		{"all pods of the namespace, also those to come", []string{
			deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: [{podSelector: {}}]}, {from: ["+from("x")+"]}], egress: [{to: [{podSelector: {}}]}]"),
		}, []string{
			"Deployment a/x -> Deployment a/x all", "Deployment a/x -> any pod in namespace a all", "any pod in namespace a -> Deployment a/x all",
		}},
		{"namespaces that do not exist", []string{
			deployment("a", "x", "80"), namespace("b", "team: blue"), policy("b", "deny", "", denyAll),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}], ports: [{port: 1}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"any pod in namespaces team=blue -> Deployment a/x TCP/1"}},
		{"a namespace by name, with other labels than it has", []string{
			deployment("a", "x", "80"), namespace("b", "team: red"),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b, team: blue}}}]}], policyTypes: [Ingress, Egress]"),
		}, nil},
		{"the same, with labels that other rules have apart", []string{
			deployment("a", "x", "80"), namespace("b", "team: red"),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b, team: blue}}, podSelector: {matchLabels: {app: q, tier: z}}}]}, "+
				"{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: q}}}], ports: [{port: 2}]}, {from: [{namespaceSelector: {}, podSelector: {matchLabels: {tier: z}}}], ports: [{port: 3}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"pods app=q in any namespace -> Deployment a/x TCP/2", "pods tier=z in any namespace -> Deployment a/x TCP/3"}},
		{"namespaces by name, of which one does not exist", []string{
			deployment("a", "x", "80"), namespace("b", ""), policy("b", "deny", "", denyAll),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [c, b]}]}}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"any pod in namespace c -> Deployment a/x all"}},
		{"namespaces by name, of which each is listed", []string{
			deployment("a", "x", "80"), namespace("b", ""),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [c, b]}]}}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"any pod in namespace b -> Deployment a/x all", "any pod in namespace c -> Deployment a/x all"}},
		{"a selector in a wider one", []string{
			deployment("a", "x", "80"),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: new}}}], ports: [{port: 1}, {port: 2}]}, "+
				"{from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: new}}}], ports: [{port: 2}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"pods app=new in any namespace -> Deployment a/x TCP/1-2"}},
		{"a selector that contradicts itself", []string{
			deployment("a", "x", "80"),
			policy("a", "p", "", "ingress: [{from: [{podSelector: {matchLabels: {app: new}, matchExpressions: [{key: app, operator: DoesNotExist}]}}]}], policyTypes: [Ingress, Egress]"),
		}, nil},
		{"every operator", []string{
			deployment("a", "x", "80"),
			policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [x]}, {key: tier, operator: In, values: [b, a]}, "+
				"{key: tier, operator: NotIn, values: [a]}, {key: role, operator: Exists}, {key: old, operator: DoesNotExist}]}}]}], policyTypes: [Ingress, Egress]"),
		}, []string{"pods app notin (x),!old,role,tier in (a,b),tier notin (a) in any namespace -> Deployment a/x all"}},
		{"overlapping ranges", []string{
			deployment("a", "x", "80"),
			policy("a", "p", "", "egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12]}}], ports: [{port: 443}]}, "+
				"{to: [{ipBlock: {cidr: 10.1.0.0/16}}], ports: [{port: 443}, {port: 5432}]}, {to: [{ipBlock: {cidr: 192.168.0.0/16}}]}], policyTypes: [Ingress, Egress]"),
		}, []string{
			"Deployment a/x -> 0.0.0.0/0 except 10.0.0.0/8 and 172.16.0.0/12 and 192.168.0.0/16 TCP/443",
			"Deployment a/x -> 10.1.0.0/16 TCP/443,5432", "Deployment a/x -> 192.168.0.0/16 all",
		}},
		{"an address that is not known is in a whole family only", []string{
			deployment("a", "x", "80"), deployment("b", "z", "80"), policy("a", "p", "", "ingress: [{"+any4+", ports: [{port: 1}]}, {from: [{ipBlock: {cidr: 0.0.0.0/1}}], ports: [{port: 2}]}], egress: []"),
			policy("b", "p", "", "egress: [{to: [{namespaceSelector: {}}]}], ingress: []"),
		}, []string{
			"Deployment a/x -> Deployment a/x TCP/1", "Deployment a/x -> 0.0.0.0/0, ::/0 all", "Deployment a/x -> any pod all",
			"Deployment b/z -> Deployment a/x TCP/1", "Deployment b/z -> any pod all",
			"0.0.0.0/1 -> Deployment a/x TCP/1-2", "128.0.0.0/1 -> Deployment a/x TCP/1", "any pod -> Deployment a/x TCP/1",
		}},
		{"addresses that are known", []string{
			pod("a", "x", "app: x", "podIP: 10.0.0.1", ""), pod("b", "z", "app: z", "podIP: 10.0.0.2, podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]", ""),
			policy("a", "p", "", "ingress: [{from: [{ipBlock: {cidr: 10.0.0.2/32}}], ports: [{port: 1}]}, {from: [{ipBlock: {cidr: 'fd00::/8'}}], ports: [{port: 6}]}], policyTypes: [Ingress, Egress]"),
			policy("b", "p", "", "egress: [{}], ingress: []"),
		}, []string{
			"Pod b/z -> Pod a/x TCP/1", "Pod b/z -> 0.0.0.0/0, ::/0 all", "Pod b/z -> any pod all",
		}},
		{"on the host network", []string{
			deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: [{ipBlock: {cidr: 10.9.0.0/16}}], ports: [{port: 1}]}, {from: [{namespaceSelector: {}}], ports: [{port: 2}]}], policyTypes: [Ingress, Egress]"),
			pod("b", "agent", "app: agent", "podIP: 10.9.0.1", ", hostNetwork: true"), pod("b", "unknown", "app: agent", "", ", hostNetwork: true"),
		}, []string{
			"Pod b/agent -> Deployment a/x TCP/1", "10.9.0.0/16 -> Deployment a/x TCP/1", "any pod -> Deployment a/x TCP/2",
		}},
		{"on the host network, at an address that a pod claims too", []string{
			deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: [{ipBlock: {cidr: 10.9.0.1/32}}], ports: [{port: 1}]}, {from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: thief}}}], ports: [{port: 2}]}], policyTypes: [Ingress, Egress]"),
			pod("b", "agent", "app: agent", "podIP: 10.9.0.1", ", hostNetwork: true"), pod("b", "thief", "app: thief", "podIP: 10.9.0.1", ""), policy("b", "p", "", "ingress: []"), policy("b", "q", "", "egress: [{to: [{podSelector: {}}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}]}]"),
		}, []string{
			"Pod b/agent -> Deployment a/x TCP/1", "Pod b/thief -> Deployment a/x TCP/1-2", "Pod b/thief -> any pod in namespace a TCP/1-2",
			"pods app=thief in any namespace -> Deployment a/x TCP/2",
		}},
		{"a named port that is denied is not one of pods to come", []string{
			deployment("a", "x", "80"), deployment("b", "web", "80"), policy("a", "p", "", "ingress: [], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}, podSelector: {matchLabels: {app: web}}}], ports: [{}]}]"),
			policy("b", "p", "", "ingress: [{ports: [{}]}], egress: []"), policy("b", "q", "", denyAll),
			clusterPolicy("c", "Admin", "{namespaces: {}}", "ingress: [{action: Deny, from: [{namespaces: {}}], protocols: [{destinationNamedPort: http}]}]"),
		}, []string{
			"Deployment a/x -> Deployment b/web TCP/0-79,81-65535", "Deployment a/x -> pods app=web in namespace b TCP/*",
			"0.0.0.0/0, ::/0 -> Deployment b/web TCP/*", "any pod -> Deployment b/web TCP/0-79,81-65535",
		}},
		{"tiers", []string{
			deployment("a", "x", "80"), deployment("b", "z", "80"), policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {}}]}], policyTypes: [Ingress, Egress]"),
			policy("b", "p", "", "ingress: [], egress: [{to: [{namespaceSelector: {}}]}]"),
			clusterPolicy("c", "Admin", "{namespaces: {}}", "ingress: [{action: Deny, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: b}}}], protocols: [{tcp: {destinationPort: {number: 22}}}]}]"),
		}, []string{
			"Deployment b/z -> Deployment a/x TCP/0-21,23-65535 UDP/* SCTP/* other", "Deployment b/z -> any pod TCP/0-21,23-65535 UDP/* SCTP/* other", "any pod -> Deployment a/x all",
		}},
		{"nodes", []string{
			deployment("a", "x", "80"), "{apiVersion: v1, kind: Node, metadata: {name: node, labels: {role: edge}}, status: {addresses: [{type: InternalIP, address: 10.9.0.1}, {type: Hostname, address: node}]}}",
			policy("a", "p", "", denyAll),
			clusterPolicy("c", "Admin", "{namespaces: {}}", "egress: [{action: Accept, to: [{nodes: {matchLabels: {role: edge}}}]}]"),
		}, []string{"Deployment a/x -> 10.9.0.1/32 all"}},
		{"completed pods are gone", []string{pod("a", "x", "app: x", "phase: Succeeded", "")}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := reach.Find(cluster(t, tt.manifests...), true)
			if err != nil {
				t.Fatal(err)
			}
			if got := lines(m); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			checkOrder(t, m)
		})
	}
}

// checkOrder: each end of a line is listed once, and everything is in order.
func checkOrder(t *testing.T, m *reach.Map) {
	t.Helper()
	for i := 1; i < len(m.Ends); i++ {
		if m.Ends[i-1].Compare(m.Ends[i]) >= 0 {
			t.Errorf("%s is before %s", m.Ends[i-1], m.Ends[i])
		}
	}
	for i, l := range m.Lines {
		if !slices.Contains(m.Ends, l.From) || !slices.Contains(m.Ends, l.To) {
			t.Errorf("an end of %s -> %s is not listed", l.From, l.To)
		}
		if i > 0 && cmp.Or(m.Lines[i-1].From.Compare(l.From), m.Lines[i-1].To.Compare(l.To)) >= 0 {
			t.Errorf("%s -> %s is not in order", l.From, l.To)
		}
	}
}

func TestDiff(t *testing.T) {
	allow := func(name, app, port string) string {
		return policy("shop", name, "api", "ingress: [{from: ["+from(app)+"], ports: [{port: "+port+"}]}]")
	}
	base := append([]string{deployment("shop", "cache", "6379")}, shop...)
	for _, tt := range []struct {
		name     string
		old, new []string
		want     []string
	}{
		{"nothing", shop, shop, nil},
		{
			"two rules in the place of one", append(base, allow("more", "cache", "7"), policy("shop", "out", "cache", "egress: [{}], policyTypes: [Egress]")),
			append(base, policy("shop", "out", "cache", "egress: [{}], policyTypes: [Egress]"), allow("again", "cache", "7"), allow("twice", "cache", "7")), nil,
		},
		{"a rule of one side alone", base, append(base, allow("more", "cache", "7")), nil},
		{"a rule that the other side allows", append(base, policy("shop", "out", "cache", "egress: [{}]")), append(base, policy("shop", "out", "cache", "egress: [{}]"), allow("more", "cache", "7")), []string{
			"Deployment shop/cache -> Deployment shop/api none => TCP/7; old isolates NetworkPolicy shop/api spec; old isolates NetworkPolicy shop/default spec; new allows NetworkPolicy shop/more spec.ingress[0]",
		}},
		{
			"ranges that are cut in another way",
			[]string{deployment("a", "x", "80"), policy("a", "p", "", "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}], policyTypes: [Ingress, Egress]")},
			[]string{deployment("a", "x", "80"), policy("a", "p", "", "egress: [{to: [{ipBlock: {cidr: 10.0.0.0/9}}, {ipBlock: {cidr: 10.128.0.0/9, except: [10.200.0.0/16]}}]}], policyTypes: [Ingress, Egress]")},
			[]string{
				"Deployment a/x -> 10.200.0.0/16 all => none; old allows NetworkPolicy a/p spec.egress[0]; new isolates NetworkPolicy a/p spec",
			},
		},
		{
			"a workload that is new, and one that is gone",
			[]string{deployment("a", "x", "80"), policy("a", "p", "", "ingress: [{from: ["+from("x")+", "+from("z")+"], ports: [{port: 1}]}], egress: [{to: [{podSelector: {}}]}]")},
			[]string{deployment("a", "z", "80"), policy("a", "p", "", "ingress: [{from: ["+from("x")+", "+from("z")+"], ports: [{port: 1}]}], egress: [{to: [{podSelector: {}}]}]")},
			[]string{
				"Deployment a/x -> Deployment a/x TCP/1 => none; old allows NetworkPolicy a/p spec.egress[0]; old allows NetworkPolicy a/p spec.ingress[0]; gone [Deployment a/x]",
				"Deployment a/x -> any pod in namespace a TCP/1 => none; old allows NetworkPolicy a/p spec.egress[0]; old allows NetworkPolicy a/p spec.ingress[0]; gone [Deployment a/x]",
				"Deployment a/z -> Deployment a/z none => TCP/1; new allows NetworkPolicy a/p spec.egress[0]; new allows NetworkPolicy a/p spec.ingress[0]; new [Deployment a/z]",
				"Deployment a/z -> any pod in namespace a none => TCP/1; new allows NetworkPolicy a/p spec.egress[0]; new allows NetworkPolicy a/p spec.ingress[0]; new [Deployment a/z]",
				"pods app=x in namespace a -> Deployment a/z none => TCP/1; new allows NetworkPolicy a/p spec.egress[0]; new allows NetworkPolicy a/p spec.ingress[0]; new [Deployment a/z]",
				"pods app=z in namespace a -> Deployment a/x TCP/1 => none; old allows NetworkPolicy a/p spec.egress[0]; old allows NetworkPolicy a/p spec.ingress[0]; gone [Deployment a/x]",
			},
		},
		{"a tier denies", []string{deployment("a", "x", "80"), deployment("b", "z", "80")}, []string{
			deployment("a", "x", "80"), deployment("b", "z", "80"),
			clusterPolicy("c", "Admin", "{namespaces: {matchLabels: {kubernetes.io/metadata.name: a}}}", "ingress: [{name: no ssh, action: Deny, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: b}}}], protocols: [{tcp: {destinationPort: {number: 22}}}]}]"),
		}, []string{
			"Deployment b/z -> Deployment a/x all => TCP/0-21,23-65535 UDP/* SCTP/* other; new denies ClusterNetworkPolicy c spec.ingress[0]",
			"any pod in namespace b -> Deployment a/x all => TCP/0-21,23-65535 UDP/* SCTP/* other; new denies ClusterNetworkPolicy c spec.ingress[0]",
		}},
		{"on the host network, at an address that is not known", []string{deployment("a", "x", "80"), pod("b", "agent", "app: agent", "", ", hostNetwork: true")}, []string{
			deployment("a", "x", "80"), pod("b", "agent", "app: agent", "", ", hostNetwork: true"), policy("a", "p", "", "ingress: [{from: [{namespaceSelector: {}}, {ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}]}]"),
		}, []string{
			"Pod b/agent -> Deployment a/x all => none; new isolates NetworkPolicy a/p spec",
			"::/0 -> Deployment a/x all => none; new isolates NetworkPolicy a/p spec",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := reach.Diff(cluster(t, tt.old...), cluster(t, tt.new...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				got = append(got, words(&c))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func words(c *reach.Change) string {
	text := fmt.Sprintf("%s -> %s %s => %s", c.From, c.To, c.Old, c.New)
	for _, cause := range c.Causes {
		side := "old"
		if cause.New {
			side = "new"
		}
		text += fmt.Sprintf("; %s %s %s", side, cause.Effect, &cause.Origin)
	}
	if c.Appeared != nil {
		text += fmt.Sprintf("; new %v", c.Appeared)
	}
	if c.Gone != nil {
		text += fmt.Sprintf("; gone %v", c.Gone)
	}
	return text
}

// TestPodsThatDiffer: what any pod of a workload may is listed, and a warning says that not all may.
func TestPodsThatDiffer(t *testing.T) {
	owned := func(name, labels, more string) string {
		return strings.Replace(pod("a", name, labels, "", more), "labels:", "ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: x, uid: u, controller: true}], labels:", 1)
	}
	canary := owned("x-1", "app: x, track: canary", "")
	for _, tt := range []struct {
		name      string
		manifests []string
		warn      bool
	}{
		{"in labels that no policy looks at", []string{canary, policy("a", "q", "x", "egress: [{ports: [{port: 1}]}]")}, false},
		{"in what governs them", []string{canary, policy("a", "q", "x", "egress: [{ports: [{port: 1}]}]"), strings.Replace(policy("a", "r", "x", "egress: [{}]"), "app: x", "track: canary", 1)}, true},
		{"in who lets them in", []string{canary, deployment("a", "z", "80"), policy("a", "q", "z", "ingress: [{from: [{podSelector: {matchLabels: {track: canary}}}]}]")}, true},
		{"in their network", []string{owned("x-1", "app: x", ", hostNetwork: true")}, true},
	} {
		m, err := reach.Find(cluster(t, append(tt.manifests, owned("x-0", "app: x", ""))...), false)
		if err != nil {
			t.Fatal(err)
		}
		warned := len(m.Warnings) == 1 && strings.HasPrefix(m.Warnings[0], "StatefulSet a/x: policies do not treat its pods alike")
		if warned != tt.warn || !warned && m.Warnings != nil {
			t.Errorf("%s: warnings %q", tt.name, m.Warnings)
		}
		if got := lines(m); tt.name == "in what governs them" && !slices.Contains(got, "StatefulSet a/x -> 0.0.0.0/0, ::/0 all") {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestFaults: what a faulty policy means is not known, so there is no answer.
func TestFaults(t *testing.T) {
	c, err := reach.New(input(t, policy("a", "p", "", "ingress: [{from: [{ipBlock: {cidr: ten}}]}]")))
	if faults := netpol.ObjectErrors(err); c != nil || len(faults) != 1 || faults[0].Path != "spec.ingress[0].from[0].ipBlock.cidr" {
		t.Errorf("%v, %v", c, err)
	}
}

func TestRanges(t *testing.T) {
	for _, tt := range []struct{ prefixes, want string }{
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.0.0.0/9 10.128.0.0/10", "10.0.0.0/9, 10.128.0.0/10"},
		{"10.0.0.0/9 10.128.0.0/10 10.192.0.0/11", "10.0.0.0/8 except 10.224.0.0/11"},
		{"0.0.0.0/1 128.0.0.0/2 192.0.0.0/3 ::/0", "0.0.0.0/0 except 224.0.0.0/3, ::/0"},
		{"10.0.0.1/32 fd00::1/128", "10.0.0.1/32, fd00::1/128"},
		{"", ""},
	} {
		var r reach.Ranges
		for _, p := range strings.Fields(tt.prefixes) {
			r.Prefixes = append(r.Prefixes, netip.MustParsePrefix(p))
		}
		if got := r.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.prefixes, got, tt.want)
		}
	}
}
