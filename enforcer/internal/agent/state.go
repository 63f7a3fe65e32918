// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// state is what the agent tells others about itself. It is safe for concurrent use.
type state struct {
	// changed gets a value when something changed that the node's condition is made of.
	changed chan struct{}
	// loaded is closed when this agent has loaded policies for the first time.
	loaded chan struct{}

	mu       sync.Mutex
	snapshot *netpol.Snapshot // of the objects that were read last; nil: none yet
	report   report.Report
	attached map[uint32]bool // interfaces that packets are judged at
	problems []string        // of the last update
	// waiting is when the first change came that no update has taken up, and taken when the first came of those
	// that the last update took up and did not enforce; zero: none.
	waiting, taken time.Time
}

func newState(node string) *state {
	return &state{
		changed:  make(chan struct{}, 1),
		loaded:   make(chan struct{}),
		report:   report.Report{Node: node, Endpoints: []report.Endpoint{}},
		problems: []string{"the API server's objects are not read yet"},
	}
}

func (s *state) tellChanged() {
	select {
	case s.changed <- struct{}{}:
	default: // whoever listens will look anyway
	}
}

// objectChanged is called for every change of an object that verdicts depend on.
func (s *state) objectChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.IsZero() {
		s.waiting = time.Now()
	}
}

// updating is called when an update begins: it takes up what changed until now.
func (s *state) updating() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken.IsZero() {
		s.taken = s.waiting
	}
	s.waiting = time.Time{}
}

// setProblems is called when an update has ended. It decides about readiness: there is none while something
// is missing.
func (s *state) setProblems(problems []error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = nil
	for _, p := range problems {
		s.problems = append(s.problems, p.Error())
	}
	if len(problems) == 0 {
		s.report.UpdatedAt, s.taken = &now, time.Time{}
	}
	s.tellChanged()
}

// setSelfTest is called with what a self-test came to.
func (s *state) setSelfTest(err error) {
	result := &report.SelfTest{At: time.Now(), Passed: err == nil}
	if err != nil {
		result.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.SelfTest = result
	s.tellChanged()
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
	if s.report.Generation == 0 {
		close(s.loaded)
	}
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
			Attached: s.attached[e.Ifindex],
		})
	}
	s.report.Sets = len(sets)
}

// setAttached says which of the endpoints' interfaces packets are judged at. The map must not be changed any more.
func (s *state) setAttached(attached map[uint32]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = attached
	for i := range s.report.Endpoints {
		s.report.Endpoints[i].Attached = attached[s.report.Endpoints[i].Ifindex]
	}
}

func (s *state) setSnapshot(snapshot *netpol.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = snapshot
}

// forTrace is what the API server says, and the interface of each pod of the node; the first if it has several.
func (s *state) forTrace() (snapshot *netpol.Snapshot, interfaces map[types.NamespacedName]uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	interfaces = make(map[types.NamespacedName]uint32, len(s.report.Endpoints))
	for _, e := range slices.Backward(s.report.Endpoints) {
		interfaces[types.NamespacedName{Namespace: e.Namespace, Name: e.Pod}] = e.Ifindex
	}
	return s.snapshot, interfaces
}

// current returns a copy without what is read elsewhere: the counts of flows, and the maps.
func (s *state) current() report.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Endpoints = append([]report.Endpoint{}, s.report.Endpoints...)
	r.Problems = append([]string(nil), s.problems...)
	switch {
	case r.SelfTest == nil && r.Generation > 0:
		r.Problems = append(r.Problems, "the self-test has not ended yet")
	case r.SelfTest != nil && !r.SelfTest.Passed:
		r.Problems = append(r.Problems, "the self-test failed: "+r.SelfTest.Problem)
	}
	r.Ready = len(r.Problems) == 0
	for _, since := range []time.Time{s.waiting, s.taken} {
		if !since.IsZero() && (r.PendingSince == nil || since.Before(*r.PendingSince)) {
			r.PendingSince = &since
		}
	}
	return r
}
