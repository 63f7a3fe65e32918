// SPDX-License-Identifier: Apache-2.0

package wording

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// LeadsNowhere is said of a connection to a Service without pods or without the port, in place of a verdict.
const LeadsNowhere = "cannot be: the Service leads nowhere."

// Verdict says what becomes of a connection whose sides allow it or not.
func Verdict(egress, ingress bool) string {
	switch {
	case !egress && !ingress:
		return "is denied, by both sides."
	case !egress:
		return "is denied by the egress side."
	case !ingress:
		return "is denied by the ingress side."
	}
	return "is allowed."
}

// Because says for what reason a side was decided; by is the rule that decided, or the policies that isolate the
// pod. It is empty for a reason that is not of the policies of a pod.
func Because(s *netpol.Side, reason netpol.Reason, by []*netpol.Origin) string {
	switch reason {
	case netpol.RuleMatched:
		return "a rule allows it"
	case netpol.RuleDenied:
		if len(by) == 1 && s.TierOf(by[0]) == netpol.Baseline {
			return "a rule of the Baseline tier denies it, and no NetworkPolicy isolates the pod"
		}
		return "a rule of the Admin tier denies it, which no NetworkPolicy can overrule"
	case netpol.NoRule:
		if len(by) > 1 {
			return fmt.Sprintf("%d policies isolate the pod, and no rule of theirs matches", len(by))
		}
		return "a policy isolates the pod, and no rule of it matches"
	case netpol.NotIsolated:
		return "no policy isolates the pod in this direction"
	case netpol.OwnNode:
		return "it comes from the pod's own node, from which everything is allowed"
	case netpol.SamePod:
		return "a pod can always reach itself"
	case netpol.UnknownPod:
		return "the pod is not known, or has another address"
	case netpol.UnknownBackend:
		return "the Service has no pod or no such port"
	}
	return ""
}

// NotAPod says why no policy has a say about an end; pod is how a pod is named.
func NotAPod(e *netpol.End, pod func(types.NamespacedName) string) string {
	switch {
	case e.HostPod != none:
		return pod(e.HostPod) + " is on the network of its node, where no policy selects it"
	case !e.Addr.IsValid():
		return "policies select only pods"
	case e.Node != "":
		return fmt.Sprintf("policies select only pods, and %s of node %s is none", e.Addr, e.Node)
	}
	return fmt.Sprintf("policies select only pods, and %s is none", e.Addr)
}

// Translation says where a Service leads, if the connection is to one; pod is how a pod is named.
func Translation(r *netpol.Resolution, pod func(types.NamespacedName) string) (notes []string) {
	if r == nil || r.Backend == none {
		return nil
	}
	notes = append(notes, fmt.Sprintf("Service %s leads to %s, port %d.", r.Service, pod(r.Backend), r.Port))
	if r.Source.IsValid() {
		notes = append(notes, fmt.Sprintf("The pod sees the node's address %s as the source.", r.Source))
	}
	return notes
}

// Some is the beginning of a list that may be long.
func Some(items []string) string {
	const shown = 5
	text := strings.Join(items[:min(shown, len(items))], ", ")
	if len(items) > shown {
		text += ", …"
	}
	return text
}
