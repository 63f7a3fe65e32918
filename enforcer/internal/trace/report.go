// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// Report is an answer as it is printed. Its words and fields are those of `bulkhead explain`.
type Report struct {
	// Allowed by the sides that are judged here. What is denied may pass all the same: see Passes.
	Allowed bool `json:"allowed"`
	// Passes: packets pass on this node, because they are allowed or nothing is enforced for the pod that denies.
	Passes bool `json:"passes"`
	// Answer in one sentence.
	Answer   string `json:"answer"`
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	// Node that judged, by the policies of this generation; 0: none were asked.
	Node       string   `json:"node"`
	Generation uint32   `json:"generation"`
	Notes      []string `json:"notes,omitempty"`
	Egress     Side     `json:"egress"`
	Ingress    Side     `json:"ingress"`
}

// Side is one side of the connection.
type Side struct {
	// Judged on this node. Otherwise there is no pod on this side, or it is on another node.
	Judged bool `json:"judged"`
	// Elsewhere is the node of the pod; empty when it is on this one, or there is none.
	Elsewhere string `json:"elsewhere,omitempty"`
	// Allowed is true of what is not judged here.
	Allowed bool          `json:"allowed"`
	Passes  bool          `json:"passes"`
	Reason  netpol.Reason `json:"reason,omitempty"` // empty when another node knows it
	// Because is the reason in words.
	Because string      `json:"because"`
	Self    wording.End `json:"self"`
	Peer    wording.End `json:"peer"`
	// Port is protocol and port as this side sees them, after the translation of a Service.
	Port string `json:"port,omitempty"`
	// By is the rule that decided, or the policies that isolate the pod.
	By []wording.Place `json:"by,omitempty"`
	// Staged is what policies say that are not live; nil when the pod has none.
	Staged *StagedSide `json:"staged,omitempty"`
	// Outdated: the API server's objects of this moment say otherwise, and are not enforced yet.
	Outdated bool `json:"outdated,omitempty"`
}

// StagedSide is the judgement of policies that are not live.
type StagedSide struct {
	Allowed bool            `json:"allowed"`
	By      []wording.Place `json:"by,omitempty"`
}

func places(origins []*netpol.Origin) (all []wording.Place) {
	for _, o := range origins {
		all = append(all, wording.PlaceOf(o))
	}
	return all
}

// because is the reason of a side in words: those of `bulkhead explain` where it has them.
func because(s *netpol.Side, j *Judgement) string {
	if text := wording.Because(s, j.Reason, j.By); text != "" {
		return text
	}
	switch j.Reason {
	case UnknownEndpoint:
		return "the loaded policies do not know the pod's interface"
	case ForeignSource:
		return "the address is not one of the pod's own"
	case NoPolicies:
		return "no policies were loaded yet"
	}
	return "the datapath says " + string(j.Reason)
}

func nameOf(e *netpol.End) string {
	switch {
	case e.Pod != none:
		return "pod " + e.Pod.String()
	case e.HostPod != none:
		return "pod " + e.HostPod.String()
	}
	return "the other end"
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "at no address of that family"
	}
	return "at " + a.String()
}

func orUnknown(node string) string {
	if node == "" {
		return "(not scheduled)"
	}
	return node
}

// conclude puts the sides together.
func (r *Report) conclude(from, to end) {
	r.Allowed, r.Passes = r.Egress.Allowed && r.Ingress.Allowed, r.Egress.Passes && r.Ingress.Passes
	verdict := wording.Verdict(r.Egress.Allowed, r.Ingress.Allowed)
	if elsewhere := r.elsewhere(); r.Allowed && elsewhere != "" {
		verdict = "is allowed on this node. " + elsewhere
	}
	if !r.Allowed && r.Passes {
		verdict = strings.TrimSuffix(verdict, ".") + ", and passes: the namespace is not in mode enforce."
	}
	r.Answer = fmt.Sprintf("%s → %s %s %s", from.text(), to.text(), r.portText(), verdict)
}

// elsewhere says which side another node judges; empty: none.
func (r *Report) elsewhere() string {
	switch {
	case r.Egress.Elsewhere != "":
		return fmt.Sprintf("The egress side is judged on node %s.", r.Egress.Elsewhere)
	case r.Ingress.Elsewhere != "":
		return fmt.Sprintf("The ingress side is judged on node %s.", r.Ingress.Elsewhere)
	}
	return ""
}

func (r *Report) portText() string { return fmt.Sprintf("%s/%d", r.Protocol, r.Port) }
