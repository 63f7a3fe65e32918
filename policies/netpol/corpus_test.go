// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// fewestCases guards against a corpus that is not found, or loses files unseen.
const fewestCases = 200

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
		if strings.HasPrefix(filepath.Base(f.Path), "invalid-") {
			continue
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
	return o
}
