// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// namespaces are what the laboratory has. Pods of front reach pods of back of their own team, at the open port;
// back reaches nobody; open has no policies; audited has the same as back, without effect.
var namespaces = []struct {
	name, mode, pod string
	pods            int
	policies        []*networkingv1.NetworkPolicy
}{
	{"front", "enforce", "web", 6, []*networkingv1.NetworkPolicy{denyAll(), allowTo("back")}},
	{"back", "enforce", "api", 8, []*networkingv1.NetworkPolicy{denyAll(), allowFrom("a", 1), allowFrom("b", 1)}},
	{"open", "enforce", "guest", 4, nil},
	{"audited", "audit", "desk", 2, []*networkingv1.NetworkPolicy{denyAll()}},
}

func team(i int) string { return []string{"a", "b"}[i%2] }

func policy(name string, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

func denyAll() *networkingv1.NetworkPolicy {
	return policy("default-deny", networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
	})
}

func inNamespace(name string) *metav1.LabelSelector { return labelled(corev1.LabelMetadataName, name) }

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// allowTo lets pods connect to those of a namespace.
func allowTo(namespace string) *networkingv1.NetworkPolicy {
	return policy("to-"+namespace, networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress:      []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: inNamespace(namespace)}}}},
	})
}

// allowFrom lets pods of front connect to the open port of pods of their team. All rules say the same.
func allowFrom(team string, rules int) *networkingv1.NetworkPolicy {
	p := policy("team-"+team, networkingv1.NetworkPolicySpec{PodSelector: *labelled("team", team)})
	for range rules {
		p.Spec.Ingress = append(p.Spec.Ingress, fromTeam(team))
	}
	return p
}

func fromTeam(team string) networkingv1.NetworkPolicyIngressRule {
	udp, tcp, port := corev1.ProtocolUDP, corev1.ProtocolTCP, intstr.FromInt(openPort)
	return networkingv1.NetworkPolicyIngressRule{
		From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: inNamespace("front"), PodSelector: labelled("team", team)}},
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &port}, {Protocol: &tcp, Port: &port}},
	}
}

func (l *lab) createPolicy(ctx context.Context, namespace string, p *networkingv1.NetworkPolicy) error {
	_, err := l.api.NetworkingV1().NetworkPolicies(namespace).Create(ctx, p, metav1.CreateOptions{})
	return err
}

func (l *lab) deletePolicy(ctx context.Context, namespace, name string) error {
	return l.api.NetworkingV1().NetworkPolicies(namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

// matrix makes the edges. Every other one is of IPv6.
func (l *lab) matrix() error {
	pods := func(namespace, name string, n int) (found []*pod) {
		for i := range n {
			found = append(found, l.pods[namespace+"/"+name+string(rune('0'+i))])
		}
		return found
	}
	webs, apis, guests, desks := pods("front", "web", 6), pods("back", "api", 8), pods("open", "guest", 4), pods("audited", "desk", 2)
	for i, web := range webs {
		six := i%3 == 1
		own, other := apis[i], apis[i+1] // of the same team, and of the other one
		l.add(web, own, tcp, six, openPort, allowed)
		l.add(web, own, udp, six, openPort, allowed)
		l.add(web, own, session, !six, openPort, allowed)
		l.add(web, own, tcp, six, closedPort, denied)
		l.add(web, own, udp, !six, closedPort, denied)
		l.add(web, other, tcp, six, openPort, denied)
		l.add(web, other, udp, six, openPort, denied)
		l.add(web, other, session, six, openPort, denied)
		l.add(web, webs[(i+1)%6], udp, six, openPort, denied)
		l.add(web, guests[i%4], udp, six, openPort, denied)
		l.add(own, web, udp, six, openPort, denied)
	}
	for i, guest := range guests {
		six := i%2 == 1
		l.add(guest, guests[(i+1)%4], tcp, six, closedPort, allowed)
		l.add(guest, guests[(i+1)%4], udp, six, openPort, allowed)
		l.add(guest, apis[i], udp, six, openPort, denied)
		l.add(guest, apis[i], tcp, six, openPort, denied)
		l.add(guest, desks[i%2], udp, six, openPort, allowed)
		l.add(desks[i%2], guest, tcp, six, openPort, allowed)
	}
	return nil
}

// streams are from every pod of front to one of back, and between guests.
func (l *lab) streams() (all []*stream) {
	for _, e := range l.edges {
		if e.flavour == tcp && e.phase.Load().want == allowed {
			for _, pushed := range []bool{false, true} {
				all = append(all, &stream{from: e.from, to: e.to, addr: e.addr, pushed: pushed, tally: l.tally, paused: &l.paused})
			}
		}
	}
	return all
}

func addrPort(p *pod, six bool, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(p.addr(six), port)
}

// applyRole gives the enforcer the rights of the chart's ClusterRole, no more.
func (l *lab) applyRole(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(l.config.chart, "rbac", "enforcer.yaml"))
	if err != nil {
		return err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var role rbacv1.ClusterRole
	var binding rbacv1.ClusterRoleBinding
	if err := errors.Join(decoder.Decode(&role), decoder.Decode(&binding)); err != nil {
		return err
	}
	_, roleErr := l.api.RbacV1().ClusterRoles().Create(ctx, &role, metav1.CreateOptions{})
	_, bindingErr := l.api.RbacV1().ClusterRoleBindings().Create(ctx, &binding, metav1.CreateOptions{})
	return errors.Join(roleErr, bindingErr)
}
