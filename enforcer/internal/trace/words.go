// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// notes say what was translated.
func notes(e *netpol.Explanation) (all []string) {
	if r := e.Verdict.Resolved; r != nil && r.Backend != none {
		all = append(all, fmt.Sprintf("Service %s leads to Pod %s, port %d.", r.Service, r.Backend, r.Port))
		if r.Source.IsValid() {
			all = append(all, fmt.Sprintf("The pod sees the node's address %s as the source.", r.Source))
		}
	}
	return all
}

// because is the reason of a side in words: those of `bulkhead explain` where it has them.
func because(s *netpol.Side, j *Judgement) string {
	switch j.Reason {
	case netpol.RuleMatched:
		return "a rule allows it"
	case netpol.RuleDenied:
		if len(j.By) == 1 && isBaseline(s, j.By[0]) {
			return "a rule of the Baseline tier denies it, and no NetworkPolicy isolates the pod"
		}
		return "a rule of the Admin tier denies it, which no NetworkPolicy can overrule"
	case netpol.NoRule:
		if n := len(j.By); n > 1 {
			return fmt.Sprintf("%d policies isolate the pod, and no rule of theirs matches", n)
		}
		return "a policy isolates the pod, and no rule of it matches"
	case netpol.NotIsolated:
		return "no policy isolates the pod in this direction"
	case netpol.OwnNode:
		return "it comes from the pod's own node, from which everything is allowed"
	case netpol.SamePod:
		return "a pod can always reach itself"
	case UnknownEndpoint:
		return "the loaded policies do not know the pod's interface"
	case ForeignSource:
		return "the address is not one of the pod's own"
	case NoPolicies:
		return "no policies were loaded yet"
	}
	return "the datapath says " + string(j.Reason)
}

// isBaseline looks the rule's policy up among those that govern the side.
func isBaseline(s *netpol.Side, rule *netpol.Origin) bool {
	for _, g := range s.Policies {
		if g.Tier == netpol.Baseline && g.Origin.Kind == rule.Kind && g.Origin.Name == rule.Name {
			return true
		}
	}
	return false
}

func notAPod(e *netpol.End) string {
	switch {
	case e.HostPod != none:
		return fmt.Sprintf("Pod %s is on the network of its node, where no policy selects it", e.HostPod)
	case !e.Addr.IsValid():
		return "policies select only pods"
	case e.Node != "":
		return fmt.Sprintf("policies select only pods, and %s of node %s is none", e.Addr, e.Node)
	}
	return fmt.Sprintf("policies select only pods, and %s is none", e.Addr)
}
