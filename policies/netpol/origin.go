// SPDX-License-Identifier: Apache-2.0

package netpol

import "fmt"

// Direction is the side of a pod on which a policy works.
type Direction uint8

// The two directions, numbered as the datapath numbers them.
const (
	Ingress Direction = 0
	Egress  Direction = 1
)

// String is the word that policyTypes uses.
func (d Direction) String() string {
	if d == Egress {
		return "Egress"
	}
	return "Ingress"
}

// MarshalText makes a Direction a word in JSON.
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Origin says where in which object a decision was written down.
type Origin struct {
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Direction Direction `json:"direction"`
	// Index of the rule in its list; -1 means the policy as a whole.
	Index int `json:"index"`
	// Path of the rule in the object, such as spec.ingress[0]; spec for the policy as a whole.
	Path string `json:"path"`
	// Rule is the name that the rule gives itself; empty when it has none, as a NetworkPolicy's never has.
	Rule string `json:"rule,omitempty"`
	// Commit that approved the object; empty when not known.
	Commit string `json:"commit,omitempty"`
}

// String is the origin in one phrase: "NetworkPolicy shop/api spec.ingress[0]".
func (o *Origin) String() string {
	if o == nil {
		return ""
	}
	if o.Namespace == "" {
		return fmt.Sprintf("%s %s %s", o.Kind, o.Name, o.Path)
	}
	return fmt.Sprintf("%s %s/%s %s", o.Kind, o.Namespace, o.Name, o.Path)
}
