// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"net/http"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/dataplane"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/trace"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// trace answers a trace.Query with a trace.Report.
func (w *website) trace(out http.ResponseWriter, req *http.Request) {
	var q trace.Query
	if err := json.NewDecoder(http.MaxBytesReader(out, req.Body, maxQuestion)).Decode(&q); err != nil {
		http.Error(out, fmt.Sprintf("the question is none: %v", err), http.StatusBadRequest)
		return
	}
	snapshot, interfaces := w.state.forTrace()
	node := trace.Node{
		Name: w.node, Snapshot: snapshot, Judge: w.judge,
		Interface: func(pod types.NamespacedName) (uint32, bool) {
			ifindex, found := interfaces[pod]
			return ifindex, found
		},
	}
	r, err := node.Trace(q)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	answer(out, r)
}

var protocols = map[corev1.Protocol]uint8{
	corev1.ProtocolTCP: unix.IPPROTO_TCP, corev1.ProtocolUDP: unix.IPPROTO_UDP, corev1.ProtocolSCTP: unix.IPPROTO_SCTP,
}

// judge asks the datapath, and names what decided.
func (s *shared) judge(q trace.Question) (trace.Judgement, error) {
	question := dataplane.Question{
		Ifindex: q.Ifindex, Local: q.Local, Remote: q.Remote, Direction: q.Direction, Protocol: protocols[q.Protocol], Port: q.Port,
		Translated: q.Translated,
	}
	j, err := s.dataplane.Judge(question)
	if err == nil && j.Verdict == dataplane.Deferred { // what no Service translates is judged where it would have been
		question.Translated = true
		j, err = s.dataplane.Judge(question)
	}
	if err != nil {
		return trace.Judgement{}, err
	}
	judgement := trace.Judgement{
		Allowed: j.Verdict == dataplane.Allowed, Passes: j.Verdict != dataplane.Denied, Reason: reasonOf(j.Reason), Generation: j.Generation,
		By: s.book.Deciders(j.Set, j.Rule, q.Direction, j.Verdict),
	}
	if staged := j.Staged; staged != nil {
		judgement.Staged = &trace.Staged{
			Allowed: staged.Verdict == dataplane.Allowed, By: s.book.Deciders(staged.Set, staged.Rule, q.Direction, staged.Verdict),
		}
	}
	return judgement, nil
}

// reasonOf says in netpol's terms what the datapath says; what only the datapath says is in its own.
func reasonOf(r dataplane.Reason) netpol.Reason {
	switch r {
	case dataplane.ByRule:
		return netpol.RuleMatched
	case dataplane.ByDenyRule:
		return netpol.RuleDenied
	case dataplane.ByNoIsolation:
		return netpol.NotIsolated
	case dataplane.ByIsolation:
		return netpol.NoRule
	case dataplane.ByOwnNode:
		return netpol.OwnNode
	case dataplane.ByItself:
		return netpol.SamePod
	case dataplane.ByUnknownEndpoint:
		return trace.UnknownEndpoint
	case dataplane.ByForeignSource:
		return trace.ForeignSource
	}
	return netpol.Reason(r.String())
}
