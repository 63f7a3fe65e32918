// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"sync"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// state is what the agent tells others about itself. It is safe for concurrent use.
type state struct {
	// flowsMu keeps records from being drained while the policies that name them are switched.
	flowsMu sync.Mutex

	mu     sync.Mutex
	report report.Report
}

func newState(node string) *state {
	return &state{report: report.Report{
		Node: node, Problems: []string{"the API server's objects are not read yet"}, Endpoints: []report.Endpoint{},
	}}
}

// setProblems decides about readiness: there is none while something is missing.
func (s *state) setProblems(problems []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Ready = len(problems) == 0
	s.report.Problems = nil
	for _, p := range problems {
		s.report.Problems = append(s.report.Problems, p.Error())
	}
}

func (s *state) setPolicyErrors(errs []*netpol.ObjectError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.PolicyErrors = nil
	for _, e := range errs {
		s.report.PolicyErrors = append(s.report.PolicyErrors, e.Error())
	}
}

func (s *state) setLoaded(generation uint32, world *plan.World, endpoints []plan.EndpointInput) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Generation, s.report.LoadedAt = generation, &now
	s.report.Endpoints = make([]report.Endpoint, 0, len(endpoints))
	sets := make(map[uint32]bool)
	for _, e := range endpoints {
		sets[world.Endpoints[e.Ifindex].Set] = true
		mode := "audit"
		if e.Mode == plan.Enforce {
			mode = "enforce"
		}
		s.report.Endpoints = append(s.report.Endpoints, report.Endpoint{
			Namespace: e.Pod.Namespace, Pod: e.Pod.Name, Ifindex: e.Ifindex, Mode: mode, Set: world.Endpoints[e.Ifindex].Set,
		})
	}
	s.report.Sets = len(sets)
}

// setAttached says which of the endpoints' interfaces packets are judged at.
func (s *state) setAttached(attached map[uint32]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.report.Endpoints {
		s.report.Endpoints[i].Attached = attached[s.report.Endpoints[i].Ifindex]
	}
}

// current returns a copy without the counts of flows.
func (s *state) current() report.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Endpoints = append([]report.Endpoint{}, s.report.Endpoints...)
	return r
}
