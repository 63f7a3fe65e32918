// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// tally counts what the generator has reached: a generator that no longer reaches a branch proves
// nothing about it.
type tally map[string]int

func (n tally) add(v *opinion) {
	n.addSide("egress", &v.egress)
	n.addSide("ingress", &v.ingress)
	if v.path != "" {
		n["Service "+v.path]++
	}
	if v.backend.Name != "" {
		n["backend of "+v.path]++
	}
	if v.source.IsValid() {
		n["masqueraded"]++
	}
	if v.allowed() {
		n["allowed"]++
	}
}

// addEnds counts the rules of addresses that a connection leads to.
func (n tally) addEnds(o *oracle, c netpol.Connection) {
	for _, p := range []netpol.Peer{c.From, c.To} {
		pod, ip := o.pod(p.Pod), bytesOf(p.Addr)
		switch {
		case ip == nil && pod != nil && hasIdentity(pod) && len(o.podAddresses[pod]) == 0:
			n["pod without address"]++
		case pod != nil && !isGone(pod) && ip != nil && len(o.podAddresses[pod]) == 0:
			n["pod without address, given one"]++
		case pod != nil && !isGone(pod) && ip != nil && !listed(o.podAddresses[pod], ip):
			n["pod at the address of another"]++
		case pod == nil && ip != nil && o.holders(ip) > 1:
			n["disputed address"]++
		}
	}
}

// holders is how many pods and Nodes have the address.
func (o *oracle) holders(ip net.IP) (n int) {
	for _, pod := range o.Pods {
		if !isGone(pod) && listed(o.podAddresses[pod], ip) {
			n++
		}
	}
	for _, node := range o.Nodes {
		if listed(o.nodeAddresses[node], ip) {
			n++
		}
	}
	return n
}

func (n tally) addSide(name string, s *sideOpinion) {
	n[name+" "+string(s.reason)]++
	if s.rule.kind == "ClusterNetworkPolicy" {
		n[s.rule.tier+" "+name+" "+string(s.reason)]++
	}
	if s.match != "" {
		n[name+" matched "+s.match]++
	}
	if s.passed.kind != "" {
		n[name+" passed by "+s.passed.tier+", then "+string(s.reason)]++
	}
}

var listIndex = regexp.MustCompile(`\[\d+\]`)

// addFaults counts the kinds of paths, whatever the place in a list.
func (n tally) addFaults(o *oracle) {
	for _, f := range o.faults {
		n["fault "+listIndex.ReplaceAllString(f.path, "[]")]++
	}
}

// String is one line for each count, in order of name.
func (n tally) String() string {
	var lines []string
	for what, times := range n {
		lines = append(lines, fmt.Sprintf("%9d %s\n", times, what))
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[10:], b[10:]) })
	return strings.Join(lines, "")
}

// checkReach wants every branch that the package documents: each reason once in 250 pairs, each way to a
// reason or to a pod behind a Service once in 10,000, each kind of peer and port of a tier once in 50,000,
// and each kind of fault once in 2500 clusters.
func (n tally) checkReach(t *testing.T, pairs int) {
	t.Helper()
	atLeast := func(times int, all []string) {
		for _, what := range all {
			if n[what] < times {
				t.Errorf("%s: %d times in %d pairs, want %d", what, n[what], pairs, times)
			}
		}
	}
	atLeast(pairs/250, wantedReasons())
	atLeast(pairs/10_000, wantedWays())
	atLeast(pairs/50_000, wantedMatches())
	atLeast(pairs/pairsPerCluster/2500, wantedFaults)
}

func wantedReasons() []string {
	all := []string{"allowed", "masqueraded", "ingress " + string(netpol.OwnNode)}
	for _, side := range []string{"egress ", "ingress "} {
		for _, r := range []netpol.Reason{
			netpol.RuleMatched, netpol.RuleDenied, netpol.NoRule, netpol.NotIsolated, netpol.NotAPod, netpol.SamePod, netpol.UnknownPod, netpol.UnknownBackend,
		} {
			all = append(all, side+string(r))
		}
	}
	return all
}

func wantedWays() (all []string) {
	for _, side := range []string{"egress ", "ingress "} {
		for _, tier := range []string{"Admin ", "Baseline "} {
			all = append(all, tier+side+string(netpol.RuleMatched), tier+side+string(netpol.RuleDenied))
		}
		for _, r := range []netpol.Reason{netpol.RuleMatched, netpol.RuleDenied, netpol.NoRule, netpol.NotIsolated} {
			all = append(all, side+"passed by Admin, then "+string(r))
		}
		all = append(all, side+"passed by Baseline, then "+string(netpol.NotIsolated))
	}
	for _, policy := range []string{" Cluster", " Local"} {
		for _, path := range []string{"external inside", "external outside", "NodePort own node", "NodePort other node"} {
			all = append(all, "backend of "+path+policy)
		}
	}
	return append(all, "backend of cluster address", "backend of by name", "backend of headless", "backend of by name, no address yet", "Service no such Service")
}

// wantedMatches are what of a tier's rules matched, and who owns the addresses at the ends.
func wantedMatches() []string {
	all := []string{"pod without address", "pod without address, given one", "pod at the address of another", "disputed address"}
	for _, peer := range []string{"namespaces", "pods", "nodes", "networks"} {
		for _, side := range []string{"egress matched ", "ingress matched "} {
			if side == "ingress matched " && (peer == "nodes" || peer == "networks") {
				continue
			}
			all = append(all, side+peer, side+peer+", TCP", side+peer+", TCP range")
			if peer == "namespaces" || peer == "pods" {
				all = append(all, side+peer+", named port", side+peer+", UDP", side+peer+", SCTP range")
			}
		}
	}
	return append(all, "egress matched everyone, for a fault", "ingress matched everyone, for a fault")
}

var wantedFaults = []string{
	"fault metadata.name", "fault metadata.namespace", "fault spec.tier", "fault spec.priority", "fault spec.subject",
	"fault spec.subject.namespaces", "fault spec.subject.pods.namespaceSelector", "fault spec.subject.pods.podSelector",
	"fault spec.ingress", "fault spec.ingress[].action", "fault spec.ingress[].name", "fault spec.ingress[].from",
	"fault spec.ingress[].from[]", "fault spec.ingress[].from[].namespaces", "fault spec.ingress[].from[].pods.namespaceSelector",
	"fault spec.ingress[].from[].pods.podSelector", "fault spec.ingress[].protocols", "fault spec.ingress[].protocols[]",
	"fault spec.ingress[].protocols[].destinationNamedPort", "fault spec.ingress[].protocols[].tcp",
	"fault spec.ingress[].protocols[].tcp.destinationPort", "fault spec.ingress[].protocols[].udp.destinationPort.number",
	"fault spec.ingress[].protocols[].sctp.destinationPort.range", "fault spec.egress", "fault spec.egress[].action",
	"fault spec.egress[].name", "fault spec.egress[].to", "fault spec.egress[].to[]", "fault spec.egress[].to[].namespaces",
	"fault spec.egress[].to[].pods.namespaceSelector", "fault spec.egress[].to[].pods.podSelector", "fault spec.egress[].to[].nodes",
	"fault spec.egress[].to[].networks", "fault spec.egress[].to[].networks[]", "fault spec.egress[].to[].domainNames",
	"fault spec.egress[].protocols", "fault spec.egress[].protocols[]", "fault spec.egress[].protocols[].destinationNamedPort",
	"fault spec.egress[].protocols[].sctp", "fault spec.egress[].protocols[].sctp.destinationPort",
	"fault spec.egress[].protocols[].tcp.destinationPort.number", "fault spec.egress[].protocols[].udp.destinationPort.range",
}
