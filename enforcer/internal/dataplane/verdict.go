// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

// Verdict is what was decided about a connection.
type Verdict uint8

// The verdicts.
const (
	Denied    = Verdict(bpf.DatapathVerdictDENIED)
	Allowed   = Verdict(bpf.DatapathVerdictALLOWED)
	WouldDeny = Verdict(bpf.DatapathVerdictWOULD_DENY) // denied by policy, let pass by mode audit
	Deferred  = Verdict(bpf.DatapathVerdictDEFERRED)   // to a Service: judged after translation, and not recorded before
)

// String is the verdict in one word, as used in metrics.
func (v Verdict) String() string {
	switch v {
	case Denied:
		return "denied"
	case Allowed:
		return "allowed"
	case WouldDeny:
		return "would-deny"
	case Deferred:
		return "deferred"
	}
	return fmt.Sprintf("verdict-%d", uint8(v))
}

// Reason is why. bpf/headers/state.h says what each means.
type Reason uint8

// The reasons that consumers of flows tell apart.
const (
	ByRule             = Reason(bpf.DatapathReasonBY_RULE)
	ByDenyRule         = Reason(bpf.DatapathReasonBY_DENY_RULE)
	ByNoIsolation      = Reason(bpf.DatapathReasonBY_NO_ISOLATION)
	ByIsolation        = Reason(bpf.DatapathReasonBY_ISOLATION)
	ByOwnNode          = Reason(bpf.DatapathReasonBY_OWN_NODE)
	ByItself           = Reason(bpf.DatapathReasonBY_ITSELF)
	ByUnknownEndpoint  = Reason(bpf.DatapathReasonBY_UNKNOWN_ENDPOINT)
	ByForeignSource    = Reason(bpf.DatapathReasonBY_FOREIGN_SOURCE)
	ByUnknownInterface = Reason(bpf.DatapathReasonBY_UNKNOWN_INTERFACE)
)

var reasonNames = [bpf.DatapathReasonREASONS]string{
	bpf.DatapathReasonBY_NOTHING:           "nothing",
	bpf.DatapathReasonBY_RULE:              "rule",
	bpf.DatapathReasonBY_DENY_RULE:         "deny-rule",
	bpf.DatapathReasonBY_NO_ISOLATION:      "no-isolation",
	bpf.DatapathReasonBY_ISOLATION:         "isolation",
	bpf.DatapathReasonBY_OWN_NODE:          "own-node",
	bpf.DatapathReasonBY_ITSELF:            "itself",
	bpf.DatapathReasonBY_SERVICE:           "service",
	bpf.DatapathReasonBY_CONNECTION:        "connection",
	bpf.DatapathReasonBY_LINK_PROTOCOL:     "link-protocol",
	bpf.DatapathReasonBY_RELATED_ERROR:     "related-error",
	bpf.DatapathReasonBY_FIRST_FRAGMENT:    "first-fragment",
	bpf.DatapathReasonBY_LOST_FRAGMENT:     "lost-fragment",
	bpf.DatapathReasonBY_MALFORMATION:      "malformation",
	bpf.DatapathReasonBY_ETHERTYPE:         "ethertype",
	bpf.DatapathReasonBY_UNKNOWN_ENDPOINT:  "unknown-endpoint",
	bpf.DatapathReasonBY_NO_WORLD:          "no-world",
	bpf.DatapathReasonBY_FOREIGN_SOURCE:    "foreign-source",
	bpf.DatapathReasonBY_UNKNOWN_INTERFACE: "unknown-interface",
}

// String is the reason in one word, as used in metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// Counters are packets by why they passed or were dropped, on all CPUs, since the datapath was first
// loaded. Packets that come to the node from elsewhere than its pods are not counted at FORWARD.
type Counters struct {
	Passed, Dropped map[Reason]uint64 // every reason is a key
	LostFlows       uint64            // judgements that were not recorded for want of room
	// SuppressedDenials are those that Denials were not told, for there were too many at once; LostDenials those
	// that nobody read in time.
	SuppressedDenials, LostDenials uint64
	// SuppressedAnswers and LostAnswers are the same of Answers.
	SuppressedAnswers, LostAnswers uint64
}

// Counters reads them; the cost is one system call.
func (d *Dataplane) Counters() (Counters, error) {
	var parts []bpf.DatapathCounter
	if err := d.objs.Counters.Lookup(uint32(0), &parts); err != nil {
		return Counters{}, fmt.Errorf("read the datapath's counters: %w", err)
	}
	sum := Counters{Passed: map[Reason]uint64{}, Dropped: map[Reason]uint64{}}
	for _, part := range parts {
		for r := range Reason(len(reasonNames)) {
			sum.Passed[r] += part.Passed[r]
			sum.Dropped[r] += part.Dropped[r]
		}
		sum.LostFlows += part.LostFlows
		sum.SuppressedDenials += part.SuppressedDenials
		sum.LostDenials += part.LostDenials
		sum.SuppressedAnswers += part.SuppressedAnswers
		sum.LostAnswers += part.LostAnswers
	}
	return sum, nil
}
