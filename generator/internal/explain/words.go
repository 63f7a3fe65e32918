// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// answer is the whole in one sentence.
func (w *World) answer(e *netpol.Explanation, from, to Named) string {
	verdict := wording.Verdict(e.Egress.Decision.Allowed, e.Ingress.Decision.Allowed)
	if e.Egress.Decision.Reason == netpol.UnknownBackend {
		verdict = wording.LeadsNowhere
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
		return wording.Pod(n.Peer.Pod)
	}
	return n.Given
}

// podText names a pod, or the workload that it was made for.
func (w *World) podText(name types.NamespacedName) string {
	if w.madeUp[name] {
		return w.owner[name].Endpoint().String()
	}
	return wording.Pod(name)
}

// because is the reason of one side in words.
func (w *World) because(s *netpol.Side) string {
	if s.Decision.Reason == netpol.NotAPod {
		return wording.NotAPod(&s.Self, w.podText)
	}
	by := s.Decision.By
	if s.Decision.Rule != nil {
		by = []*netpol.Origin{s.Decision.Rule}
	}
	return wording.Because(s, s.Decision.Reason, by)
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
