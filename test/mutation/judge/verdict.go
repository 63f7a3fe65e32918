// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// checkVerdicts holds every connection of the file against a snapshot.
func checkVerdicts(f *corpus.File, s *netpol.Snapshot) error {
	for _, c := range f.Connections {
		v := s.Evaluate(c.Connection)
		if got := corpus.WantOf(v); got != c.Want {
			return fmt.Errorf("%s: got %s, want %s", c.Pos, got, c.Want)
		}
		err := cmp.Or(checkDecision(v.Egress, netpol.Egress), checkDecision(v.Ingress, netpol.Ingress), checkIsolation(s, c.Connection, v),
			checkNames(f.Objects.ClusterPolicies, v.Egress), checkNames(f.Objects.ClusterPolicies, v.Ingress))
		if err != nil {
			return fmt.Errorf("%s: %w", c.Pos, err)
		}
		if c.Protocol == corev1.ProtocolTCP {
			c.Protocol = "" // means TCP
			if got := corpus.WantOf(s.Evaluate(c.Connection)); got != c.Want {
				return fmt.Errorf("%s: without protocol: got %s, want %s", c.Pos, got, c.Want)
			}
		}
	}
	return nil
}

// checkIsolation holds what a decision says of isolation against the rules that govern the pod.
func checkIsolation(s *netpol.Snapshot, c netpol.Connection, v netpol.Verdict) error {
	for d, side := range [...]netpol.Decision{netpol.Ingress: v.Ingress, netpol.Egress: v.Egress} {
		pod := [...]types.NamespacedName{netpol.Ingress: c.To.Pod, netpol.Egress: c.From.Pod}[d]
		set := s.RuleSet(pod, netpol.Direction(d))
		switch side.Reason {
		case netpol.SamePod, netpol.NotAPod, netpol.UnknownPod, netpol.UnknownBackend:
			continue
		}
		if pod.Name != "" && side.Isolated != set.Isolated {
			return fmt.Errorf("%s isolated: %v, the rules say %v", netpol.Direction(d), side.Isolated, set.Isolated)
		}
	}
	return nil
}

// checkDecision holds what the corpus does not write down against what it does: the reason and the paths.
func checkDecision(got netpol.Decision, d netpol.Direction) error {
	want := map[netpol.Reason]struct{ allowed, isolated, either bool }{
		netpol.RuleMatched: {allowed: true, either: true}, netpol.RuleDenied: {either: true}, netpol.OwnNode: {allowed: true, either: true},
		netpol.NoRule: {isolated: true}, netpol.NotIsolated: {allowed: true}, netpol.NotAPod: {allowed: true},
		netpol.SamePod: {allowed: true}, netpol.UnknownPod: {}, netpol.UnknownBackend: {},
	}[got.Reason]
	if want.either = want.either && (got.Rule == nil || got.Rule.Kind != "NetworkPolicy"); got.Rule != nil && got.Rule.Kind == "NetworkPolicy" {
		want.isolated = true
	}
	if got.Allowed != want.allowed || !want.either && got.Isolated != want.isolated {
		return fmt.Errorf("%s is allowed: %v, isolated: %v", got.Reason, got.Allowed, got.Isolated)
	}
	for _, o := range append([]*netpol.Origin{got.Rule, got.Passed}, got.By...) {
		if o != nil && (o.Path != pathOf(o) || o.Direction != d) {
			return fmt.Errorf("%s of direction %s has index %d and direction %s", o, d, o.Index, o.Direction)
		}
	}
	return nil
}

// pathOf is where an origin's direction and index say that it stands.
func pathOf(o *netpol.Origin) string {
	if o.Index < 0 {
		return "spec"
	}
	return fmt.Sprintf("spec.%s[%d]", strings.ToLower(o.Direction.String()), o.Index)
}

// checkNames holds the names that rules give themselves against the objects.
func checkNames(policies []*policyv1alpha2.ClusterNetworkPolicy, got netpol.Decision) error {
	for _, o := range []*netpol.Origin{got.Rule, got.Passed} {
		for _, p := range policies {
			if o == nil || o.Kind != "ClusterNetworkPolicy" || o.Name != p.Name {
				continue
			}
			name := func() string {
				if o.Direction == netpol.Egress {
					return p.Spec.Egress[o.Index].Name
				}
				return p.Spec.Ingress[o.Index].Name
			}()
			if o.Rule != name {
				return fmt.Errorf("%s is named %q, want %q", o, o.Rule, name)
			}
			break // of two policies with one name the first counts
		}
	}
	return nil
}
