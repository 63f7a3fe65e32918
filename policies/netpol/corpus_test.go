// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// fewestCases guards against a corpus that is not found, or loses files unseen.
const fewestCases = 1100

func loadCorpus(tb testing.TB) []*corpus.File {
	tb.Helper()
	files, err := corpus.Load(filepath.Join("testdata", "corpus"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

func TestCorpus(t *testing.T) {
	count := 0
	for _, f := range loadCorpus(t) {
		count += len(f.Connections) + len(f.Faults)
		t.Run(strings.TrimSuffix(filepath.Base(f.Path), ".txtar"), func(t *testing.T) {
			s, err := netpol.Compile(f.Objects)
			checkFaults(t, f, netpol.ObjectErrors(err))
			for _, c := range f.Connections {
				checkVerdict(t, s, c.Connection)
				if got := corpus.WantOf(s.Evaluate(c.Connection)); got != c.Want {
					t.Errorf("%s: %s\n got  %s\n want %s", c.Pos, c.Line, got, c.Want)
				}
			}
		})
	}
	t.Logf("%d cases", count)
	if count < fewestCases {
		t.Errorf("%d cases, want at least %d", count, fewestCases)
	}
}

func checkFaults(t *testing.T, f *corpus.File, got []*netpol.ObjectError) {
	t.Helper()
	for i, want := range f.Faults {
		switch {
		case i >= len(got):
			t.Errorf("%s: no fault at %s: %s", want.Pos, want.Object, want.Path)
		case got[i].Object != want.Object || got[i].Path != want.Path:
			t.Errorf("%s: got %v, want %s: %s", want.Pos, got[i], want.Object, want.Path)
		case got[i].Problem == "":
			t.Errorf("%s: the fault says nothing", want.Pos)
		}
	}
	for _, extra := range got[min(len(f.Faults), len(got)):] {
		t.Errorf("%s: fault that was not expected: %v", f.Path, extra)
	}
}

// A verdict must not depend on the order in which objects are given, duplicates aside.
func TestCorpusInReverseOrder(t *testing.T) {
	for _, f := range loadCorpus(t) {
		if len(f.Faults) > 0 {
			continue // of two objects with one name the first counts
		}
		s, err := netpol.Compile(reversed(f.Objects))
		if err != nil {
			t.Errorf("%s: %v", f.Path, err)
		}
		for _, c := range f.Connections {
			if got := corpus.WantOf(s.Evaluate(c.Connection)); got != c.Want {
				t.Errorf("%s: got %s, want %s", c.Pos, got, c.Want)
			}
		}
	}
}

func reversed(o netpol.Objects) netpol.Objects {
	slices.Reverse(o.Namespaces)
	slices.Reverse(o.Pods)
	slices.Reverse(o.Services)
	slices.Reverse(o.Nodes)
	slices.Reverse(o.Policies)
	slices.Reverse(o.ClusterPolicies)
	return o
}

// A sentence of the specification without a case is a gap, and a case for a sentence that is not listed
// is a slip.
func TestCorpusCitesEverySentence(t *testing.T) {
	testable, cited := readSentences(t), make(map[string]bool)
	for _, f := range loadCorpus(t) {
		for _, c := range f.Cites {
			cited[c.ID] = true
			if yes, listed := testable[c.ID]; !yes {
				t.Errorf("%s: cites %s, which is listed: %v, as testable: %v", c.Pos, c.ID, listed, yes)
			}
		}
	}
	for id, yes := range testable {
		if yes && !cited[id] {
			t.Errorf("no case cites %s", id)
		}
	}
	t.Logf("%d sentences, %d of them tested", len(testable), len(cited))
}

// readSentences tells for each sentence whether a case can test it.
func readSentences(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "sentences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	testable := make(map[string]bool)
	for i, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		id, text, _ := strings.Cut(line, "  ")
		says, why, no := strings.Cut(text, " -- not testable: ")
		if _, twice := testable[id]; twice || says == "" || no && why == "" {
			t.Fatalf("sentences.txt:%d: want a new id, two spaces and what the sentence says", i+1)
		}
		testable[id] = !no
	}
	return testable
}
