// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/types"
)

// Reason says why a side of a connection is allowed or denied.
type Reason string

// The reasons. Only RuleMatched, RuleDenied and NoRule come from a policy.
const (
	RuleMatched    Reason = "RuleMatched"    // allowed by Decision.Rule
	RuleDenied     Reason = "RuleDenied"     // denied by Decision.Rule, of the Admin or the Baseline tier
	NoRule         Reason = "NoRule"         // denied: isolated, and no rule matches
	NotIsolated    Reason = "NotIsolated"    // allowed: no tier decides, and no NetworkPolicy isolates the pod in this direction
	NotAPod        Reason = "NotAPod"        // allowed: this side has no pod that policies could select
	OwnNode        Reason = "OwnNode"        // allowed: from the pod's own node
	SamePod        Reason = "SamePod"        // allowed: a pod to itself
	UnknownPod     Reason = "UnknownPod"     // denied: the snapshot does not have this pod, or not its address
	UnknownBackend Reason = "UnknownBackend" // denied: the Service has no pod or no such port
)

// Decision is the verdict of one side.
type Decision struct {
	Allowed bool `json:"allowed"`
	// Isolated: a NetworkPolicy selects the pod in this direction.
	Isolated bool   `json:"isolated"`
	Reason   Reason `json:"reason"`
	// Rule that decided; nil unless Reason is RuleMatched or RuleDenied.
	Rule *Origin `json:"rule,omitempty"`
	// Passed is the last rule that left the decision to the next tier; nil when none did.
	Passed *Origin `json:"passed,omitempty"`
	// By are the policies that isolate the pod; nil unless Reason is NoRule.
	By []*Origin `json:"by,omitempty"`
}

// Verdict is the judgement of a connection: allowed when both sides allow it.
type Verdict struct {
	Allowed bool     `json:"allowed"`
	Egress  Decision `json:"egress"`
	Ingress Decision `json:"ingress"`
	// Resolved is how a Service address was read; nil when To was no such address.
	Resolved *Resolution `json:"resolved,omitempty"`
}

// Decider is the side that decided: the denying one, else ingress.
func (v *Verdict) Decider() (Direction, *Decision) {
	if !v.Egress.Allowed {
		return Egress, &v.Egress
	}
	return Ingress, &v.Ingress
}

// Resolution says how a Service was read.
type Resolution struct {
	Service types.NamespacedName `json:"service"`
	// Port at the pods; 0 when the Service does not have the port that was asked for.
	Port uint16 `json:"port"`
	// Backend is the pod that the verdict is about: the first that is denied, else the first. The
	// zero name when the Service has no pod for the port.
	Backend types.NamespacedName `json:"backend"`
	// Source is the node's address that the pod sees in the place of the client's; the zero Addr when the
	// client's own address is kept.
	Source netip.Addr `json:"source,omitzero"`
}
