// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/plan"
)

// loadedState has policies that were loaded without problems.
func loadedState() *state {
	s := newState("node")
	s.setLoaded(1, &plan.World{}, nil)
	s.setProblems(nil)
	return s
}

func TestReadyTakesASelfTestThatPassed(t *testing.T) {
	s := newState("node")
	if r := s.current(); r.Ready || len(r.Problems) != 1 {
		t.Errorf("at the start: ready %v, problems %q", r.Ready, r.Problems)
	}
	s = loadedState()
	for _, tc := range []struct {
		test func()
		want string // in the only problem; empty: ready
	}{
		{func() {}, "the self-test has not ended yet"},
		{func() { s.setSelfTest(errors.Join(errors.New("hook a"), errors.New("hook b"))) }, "the self-test failed: hook a; hook b"},
		{func() { s.setSelfTest(nil) }, ""},
		{func() { s.setProblems([]error{errors.New("no interface")}) }, "no interface"},
	} {
		tc.test()
		r := s.current()
		if got := strings.Join(r.Problems, "|"); got != tc.want || r.Ready != (tc.want == "") {
			t.Errorf("ready %v, problems %q; want %q", r.Ready, got, tc.want)
		}
	}
}

// New policies come without the interfaces being attached again.
func TestAttachedStaysAttached(t *testing.T) {
	s := newState("node")
	endpoints := []plan.EndpointInput{{Ifindex: 7}, {Ifindex: 8}}
	s.setLoaded(1, &plan.World{}, endpoints)
	s.setAttached(map[uint32]bool{7: true})
	s.setLoaded(2, &plan.World{}, endpoints)
	if e := s.current().Endpoints; !e[0].Attached || e[1].Attached {
		t.Errorf("endpoints %+v, want the first one attached", e)
	}
}

func TestWhatIsNotEnforcedYet(t *testing.T) {
	s := loadedState()
	failed := []error{errors.New("they do not fit")}
	for i, tc := range []struct {
		do   func()
		want bool
	}{
		{func() {}, false},
		{s.objectChanged, true},
		{s.updating, true},
		{func() { s.setProblems(failed) }, true},
		{s.updating, true},
		{func() { s.setProblems(nil) }, false},
		{s.objectChanged, true},
		{s.updating, true},
		{s.objectChanged, true}, // while the update runs
		{func() { s.setProblems(nil) }, true},
		{s.updating, true},
		{func() { s.setProblems(nil) }, false},
	} {
		tc.do()
		if got := s.current().PendingSince != nil; got != tc.want {
			t.Errorf("step %d: pending %v, want %v", i, got, tc.want)
		}
	}
	s.objectChanged()
	first := s.current().PendingSince
	s.updating()
	s.setProblems(failed)
	s.objectChanged()
	if got := s.current().PendingSince; !got.Equal(*first) {
		t.Errorf("pending since %v, want the first change's %v", got, first)
	}
}
