// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// answer is the whole in one sentence.
func (w *World) answer(e *netpol.Explanation, from, to Named) string {
	verdict := "is allowed."
	switch denied := e.Denied(); {
	case len(denied) == 2 && denied[0].Decision.Reason == netpol.UnknownBackend:
		verdict = "cannot be: the Service leads nowhere."
	case len(denied) == 2:
		verdict = "is denied, by both sides."
	case len(denied) == 1:
		verdict = "is denied by the " + strings.ToLower(denied[0].Direction.String()) + " side."
	}
	return fmt.Sprintf("%s → %s %s %s", from.text(), to.text(), portText(e.Connection.Protocol, e.Connection.Port), verdict)
}

func (n *Named) text() string {
	switch {
	case n.Workload != nil:
		return n.Workload.Endpoint().String()
	case n.Node != "":
		return "Node " + n.Node
	case n.Peer.Service != none:
		return "Service " + n.Peer.Service.String()
	case n.Peer.Pod != none:
		return "Pod " + n.Peer.Pod.String()
	}
	return n.Given
}

// podText names a pod, or the workload that it was made for.
func (w *World) podText(name types.NamespacedName) string {
	if w.madeUp[name] {
		return w.owner[name].Endpoint().String()
	}
	return "Pod " + name.String()
}

// endText names one end as policies see it.
func (w *World) endText(e *netpol.End) string {
	switch {
	case e.Pod != none:
		return w.podText(e.Pod)
	case !e.Addr.IsValid():
		return "an unknown address"
	case e.Node != "":
		return fmt.Sprintf("%s of node %s", e.Addr, e.Node)
	}
	return e.Addr.String()
}

// because is the reason of one side in words.
func (w *World) because(s *netpol.Side) string {
	switch s.Decision.Reason {
	case netpol.RuleMatched:
		return "a rule allows it"
	case netpol.RuleDenied:
		if s.Decision.Rule.Kind == "ClusterNetworkPolicy" && isTier(s, netpol.Admin) {
			return "a rule of the Admin tier denies it, which no NetworkPolicy can overrule"
		}
		return "a rule of the Baseline tier denies it, and no NetworkPolicy isolates the pod"
	case netpol.NoRule:
		if n := len(s.Decision.By); n > 1 {
			return fmt.Sprintf("%d policies isolate the pod, and no rule of theirs matches", n)
		}
		return "a policy isolates the pod, and no rule of it matches"
	case netpol.NotIsolated:
		return "no policy isolates the pod in this direction"
	case netpol.NotAPod:
		return w.notAPod(&s.Self)
	case netpol.OwnNode:
		return "it comes from the pod's own node, from which everything is allowed"
	case netpol.SamePod:
		return "a pod can always reach itself"
	case netpol.UnknownPod:
		return "the pod is not known, or has another address"
	}
	return "the Service has no pod or no such port"
}

func isTier(s *netpol.Side, tier netpol.Tier) bool {
	for i := range s.Trials {
		if s.Trials[i].Origin == *s.Decision.Rule {
			return s.Trials[i].Tier == tier
		}
	}
	return false
}

func (w *World) notAPod(e *netpol.End) string {
	switch {
	case e.HostPod != none:
		return fmt.Sprintf("%s is on the network of its node, where no policy selects it", w.podText(e.HostPod))
	case !e.Addr.IsValid():
		return "policies select only pods"
	}
	return "policies select only pods, and " + w.endText(e) + " is none"
}

// failureText says why an entry of a rule does not match.
func failureText(f *netpol.Failure) string {
	actual := "none"
	if f.Actual != nil {
		actual = *f.Actual
	}
	switch f.Cause {
	case netpol.LabelFails:
		return labelFailure(f)
	case netpol.OtherNamespace:
		return fmt.Sprintf("wants a pod of namespace %s, where the policy is; the pod is in %s, which needs a namespaceSelector", f.Wanted, actual)
	case netpol.PeerIsNoPod:
		return "wants pods; " + actual + " is none"
	case netpol.PeerIsNoNode:
		return "wants nodes; " + actual + " is none"
	case netpol.OutsideBlock:
		return fmt.Sprintf("wants %s; %s is outside", f.Wanted, actual)
	case netpol.InExcept:
		return fmt.Sprintf("leaves out %s, which contains %s", f.Wanted, actual)
	case netpol.NoAddress:
		return fmt.Sprintf("wants %s; the address is not known", f.Wanted)
	case netpol.NameNotDeclared:
		return fmt.Sprintf("wants %s; no container of the pod gives a port that name", f.Wanted)
	case netpol.NameIsOther:
		return fmt.Sprintf("wants %s, which the pod gives to %s", f.Wanted, actual)
	case netpol.NameNeedsPod:
		return fmt.Sprintf("wants %s; only pods have names for ports", f.Wanted)
	}
	return fmt.Sprintf("wants %s; asked for %s", f.Wanted, actual)
}

func labelFailure(f *netpol.Failure) string {
	who := "the pod"
	switch {
	case strings.HasSuffix(f.Path, ".namespaceSelector"):
		who = "the namespace"
	case strings.HasSuffix(f.Path, ".nodes"):
		who = "the node"
	}
	is := fmt.Sprintf("%s has no label %s", who, f.Key)
	if f.Actual != nil {
		is = fmt.Sprintf("%s has %s=%s", who, f.Key, *f.Actual)
	}
	if f.Elsewhere != "" {
		is += ", but has that value as " + f.Elsewhere
	}
	return fmt.Sprintf("wants %s; %s", f.Wanted, is)
}

// labelText is labels in one line.
func labelText(set map[string]string) string {
	if len(set) == 0 {
		return "none"
	}
	return labels.FormatLabels(set)
}
