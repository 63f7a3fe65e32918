// SPDX-License-Identifier: Apache-2.0

package random

import (
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func text(t *testing.T, objs netpol.Objects) string {
	t.Helper()
	s, err := YAML(objs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A seed that a failure prints must make the same cluster again.
func TestSameSeedSameCluster(t *testing.T) {
	first, again, other := New(1, 2), New(1, 2), New(1, 3)
	a, b, c := first.Objects(), again.Objects(), other.Objects()
	if text(t, a) != text(t, b) || text(t, Changed(a, first.Change(a))) != text(t, Changed(b, again.Change(b))) {
		t.Error("the same seed made two clusters")
	}
	if text(t, a) == text(t, c) {
		t.Error("two clusters of a seed are the same")
	}
}

func TestShrinkLeavesWhatIsNeeded(t *testing.T) {
	objs := New(1, 1).Objects()
	name := objs.Pods[0].Name
	small := Shrink(objs, func(o netpol.Objects) bool { return strings.Contains(text(t, o), "name: "+name) })
	if len(Keys(small)) != 1 || len(small.Pods) != 1 || small.Pods[0].Name != name {
		t.Errorf("left %v, want pod %s alone", Keys(small), name)
	}
}
