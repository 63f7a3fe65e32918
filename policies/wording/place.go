// SPDX-License-Identifier: Apache-2.0

package wording

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// Place is a policy, or a rule of one.
type Place struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Tier of the policy; empty when not known.
	Tier string `json:"tier,omitempty"`
	// Direction and Index of the rule; Index is -1 for the policy as a whole.
	Direction string `json:"direction"`
	Index     int    `json:"index"`
	Path      string `json:"path"`
	// Rule is the name that the rule gives itself; empty when it has none.
	Rule string `json:"rule,omitempty"`
	// At is file:line; empty when not known.
	At string `json:"at,omitempty"`
	// Commit that approved the object; empty when not known.
	Commit string `json:"commit,omitempty"`
}

// PlaceOf is an origin without its tier and file.
func PlaceOf(o *netpol.Origin) Place {
	return Place{
		Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Direction: o.Direction.String(), Index: o.Index, Path: o.Path, Rule: o.Rule, Commit: o.Commit,
	}
}

// Object names the policy: "NetworkPolicy shop/api".
func (at *Place) Object() string {
	return at.Kind + " " + strings.TrimPrefix(at.Namespace+"/"+at.Name, "/")
}

// Text is the place in one phrase: "NetworkPolicy shop/api, ingress rule 0, approved by c0ffee".
func (at *Place) Text() string {
	text := at.Object()
	if at.Index >= 0 {
		text += fmt.Sprintf(", %s rule %d", strings.ToLower(at.Direction), at.Index)
	}
	if at.Rule != "" {
		text += fmt.Sprintf(" %q", at.Rule)
	}
	if at.Commit != "" {
		text += ", approved by " + at.Commit
	}
	return text
}

// End is one end of a connection as policies see it.
type End struct {
	// Pod; empty where there is none, and where it was made of a workload's template.
	Pod string `json:"pod,omitempty"`
	// Workload of the pod; empty when not known.
	Workload string `json:"workload,omitempty"`
	Address  string `json:"address,omitempty"`
	Node     string `json:"node,omitempty"`
	// Labels of the pod, if they are shown.
	Labels map[string]string `json:"labels,omitempty"`
	// HostNetwork: the pod that was asked for is on its node's network; policies see the address alone.
	HostNetwork string `json:"hostNetwork,omitempty"`
}

// EndOf is an end without its workload and labels.
func EndOf(e *netpol.End) End {
	out := End{Node: e.Node}
	if e.Pod != none {
		out.Pod = e.Pod.String()
	}
	if e.HostPod != none {
		out.HostNetwork = e.HostPod.String()
	}
	if e.Addr.IsValid() {
		out.Address = e.Addr.String()
	}
	return out
}

// Text names an end in a heading.
func (e *End) Text() string {
	switch {
	case e.Pod != "":
		return "Pod " + e.Pod
	case e.Workload != "":
		return e.Workload
	case e.HostNetwork != "":
		return "Pod " + e.HostNetwork
	case e.Address != "":
		return e.Address
	}
	return "an unknown end"
}

// none is no pod.
var none types.NamespacedName

// Pod names a pod.
func Pod(name types.NamespacedName) string { return "Pod " + name.String() }
