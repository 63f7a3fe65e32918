// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// tally counts what was reached: packets that reach nothing prove nothing.
type tally struct {
	mu      sync.Mutex
	packets int
	counts  map[judgement]int
	ways    map[string]int
}

// addRecords counts flows for which staged policies say something else, too.
func (s *tally) addRecords(flows []Flow, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range flows {
		s.ways["recorded"]++
		if f.Staged != nil && (f.Staged.Verdict == Allowed) != (f.Verdict == Allowed) {
			s.ways["staged policies say something else"]++
		}
	}
	if lost == 0 {
		s.ways["worlds with every connection recorded"]++
	}
}

// addWays takes over what a reference has counted, and how many worlds were added to the one before.
func (s *tally) addWays(r *reference, added int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ways["worlds added to the one before"] += added
	for _, passed := range []bool{true, false} {
		s.ways[fmt.Sprintf("judged again, passed %v", passed)] += r.again[passed]
		s.ways[fmt.Sprintf("not seen to open, passed %v", passed)] += r.adopted[passed]
	}
}

func (s *tally) add(packets int, counts map[judgement]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.packets += packets
	for j, n := range counts {
		s.counts[j] += n
	}
}

func (s *tally) String() string {
	var lines []string
	for r := range Reason(len(reasonNames)) {
		lines = append(lines, fmt.Sprintf("%-18s %8d passed %8d dropped", r, s.counts[judgement{true, r}], s.counts[judgement{false, r}]))
	}
	return fmt.Sprintf("%s\n%v", strings.Join(lines, "\n"), s.ways)
}

// often is how many packets there may be for one that meets a fate.
var often = map[judgement]int{
	{true, ByRule}: 100, {true, ByDenyRule}: 1000, {true, ByIsolation}: 1000, {true, ByNoIsolation}: 20,
	{false, ByDenyRule}: 50, {false, ByIsolation}: 50, {true, ByOwnNode}: 500, {true, ByItself}: 200,
	{true, byService}: 200, {true, byConnection}: 10, {true, byLinkProtocol}: 500, {true, byRelatedError}: 100,
	{true, byFirstFragment}: 100, {false, byLostFragment}: 200, {false, byMalformation}: 100, {true, byMalformation}: 1000,
	{false, byEthertype}: 5000, {false, ByUnknownEndpoint}: 200, {false, ByForeignSource}: 200, {true, ByForeignSource}: 2000,
}

func (s *tally) check(t *testing.T) {
	t.Helper()
	if s.packets < fewestPackets && !testing.Short() {
		t.Errorf("%d packets, want at least %d", s.packets, fewestPackets)
	}
	for _, way := range []string{
		"judged again, passed true", "judged again, passed false", "not seen to open, passed true", "not seen to open, passed false",
		"recorded", "staged policies say something else", "worlds added to the one before", "worlds with every connection recorded",
	} {
		if n := s.ways[way]; n < s.packets/2000 {
			t.Errorf("%s: %d times with %d packets", way, n, s.packets)
		}
	}
	for j, one := range often {
		if s.counts[j] < s.packets/one {
			t.Errorf("%s, passed %v: %d of %d packets, want one in %d", j.reason, j.passes, s.counts[j], s.packets, one)
		}
	}
}
