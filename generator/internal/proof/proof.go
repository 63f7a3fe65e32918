// SPDX-License-Identifier: Apache-2.0

// Package proof judges policies against what was observed. It shares nothing with the code
// that writes policies: it compiles them with policies/netpol and asks.
package proof

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Report is what was proven.
type Report struct {
	// Proven: every connection is allowed, and nothing can be taken away.
	Proven bool `json:"proven"`
	// Connections is the number of distinct connections that were judged.
	Connections int `json:"connections"`
	// Policies is the number of policies that were judged, baseline included.
	Policies int      `json:"policies"`
	Broken   []Broken `json:"broken"`  // connections that are not allowed
	Surplus  []string `json:"surplus"` // rules, peers and ports that no connection needs
	Excess   Excess   `json:"excess"`  // what is allowed beyond what was seen
}

// Broken is an observed connection that the policies deny.
type Broken struct {
	Connection string `json:"connection"`
	Reason     string `json:"reason"`
}

// Prove judges the policies of some namespaces, baseline included. Connections that touch none of
// those namespaces are left out. The error says that the policies themselves are invalid, which
// is different from not being proven.
func Prove(policies []*networkingv1.NetworkPolicy, connections []evidence.Connection, sample *inventory.Sample) (*Report, error) {
	if err := validate(policies); err != nil {
		return nil, err
	}
	snapshot, err := sample.Compile(policies)
	if err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	namespaces := Namespaces(policies)
	var relevant []evidence.Connection
	for _, c := range connections {
		if slices.ContainsFunc(namespaces, c.Touches) {
			relevant = append(relevant, c)
		}
	}
	r := &Report{Connections: len(relevant), Policies: len(policies), Broken: []Broken{}, Surplus: []string{}}
	for _, c := range relevant {
		if reason := denied(snapshot, sample, c); reason != "" {
			r.Broken = append(r.Broken, Broken{c.String(), reason})
		}
	}
	r.Surplus = append(r.Surplus, surplus(snapshot, policies, relevant, sample)...)
	r.Excess = excess(snapshot, policies, relevant, sample, namespaces)
	r.Proven = len(r.Broken) == 0 && len(r.Surplus) == 0
	return r, nil
}

func validate(policies []*networkingv1.NetworkPolicy) error {
	var faults []error
	for _, p := range policies {
		for _, f := range netpol.Validate(p) {
			faults = append(faults, f)
		}
	}
	return errors.Join(faults...)
}

// denied says why a connection is not allowed between all pods that stand for it; empty: it is.
func denied(s *netpol.Snapshot, sample *inventory.Sample, c evidence.Connection) string {
	pairs, err := sample.Pairs(c.From, c.To)
	if err != nil {
		return err.Error()
	}
	for _, p := range pairs {
		v := s.Evaluate(netpol.Connection{From: p[0], To: p[1], Protocol: c.Protocol, Port: c.Port})
		if v.Allowed {
			continue
		}
		side, decision := v.Decider()
		reason := fmt.Sprintf("%s denied: %s", side, decision.Reason)
		for _, by := range decision.By {
			reason += ", isolated by " + by.String()
		}
		return reason
	}
	return ""
}

// Namespaces are those of policies, ordered.
func Namespaces(policies []*networkingv1.NetworkPolicy) []string {
	var names []string
	for _, p := range policies {
		names = append(names, p.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isBaseline: the baseline is the same for every namespace, so it is neither minimal nor in excess.
func isBaseline(name string) bool {
	return name == baseline.DefaultDenyName || name == baseline.AllowDNSName
}

// Policies picks the NetworkPolicies out of objects, ordered by namespace and name. It is an error
// when there are two of the same name.
func Policies(objects []runtime.Object) ([]*networkingv1.NetworkPolicy, error) {
	var policies []*networkingv1.NetworkPolicy
	for _, o := range objects {
		if p, ok := o.(*networkingv1.NetworkPolicy); ok {
			policies = append(policies, p)
		}
	}
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i, p := range policies {
		if i > 0 && p.Namespace == policies[i-1].Namespace && p.Name == policies[i-1].Name {
			return nil, fmt.Errorf("NetworkPolicy %s/%s is there twice", p.Namespace, p.Name)
		}
	}
	return policies, nil
}
