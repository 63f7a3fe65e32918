// SPDX-License-Identifier: Apache-2.0

package standing

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
)

func labelled(labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: labels}}
}

func TestOf(t *testing.T) {
	set := profile.NewSet(baseline.Enforce, []*profile.Profile{{
		ObjectMeta: metav1.ObjectMeta{Name: "prod", Generation: 3},
		Spec:       profile.Spec{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}, StartingMode: "enforce"},
	}})
	for _, test := range []struct {
		labels map[string]string
		want   string // mode, profile, named, selected, generation of what is held
	}{
		{nil, "observe standard false standard 0"},
		{map[string]string{"env": "prod"}, "observe prod false prod 3"},
		{map[string]string{baseline.LabelMode: "audit", baseline.LabelProfile: "prod"}, "audit prod true standard 3"},
		{map[string]string{baseline.LabelMode: "nonsense", baseline.LabelProfile: "gone"}, "nonsense gone true standard 0"},
	} {
		s := Of(labelled(test.labels), set)
		if got := fmt.Sprint(s.Mode, " ", s.Profile, " ", s.Named, " ", s.Selected, " ", s.Generation()); got != test.want {
			t.Errorf("%v: %s, want %s", test.labels, got, test.want)
		}
	}
}

func TestBoardTellsOfWhatCanBeSeen(t *testing.T) {
	board := New()
	board.Note("early", Standing{Mode: "audit", Profile: "standard"})
	var told []string
	board.Subscribe(func(namespace string, s Standing) { told = append(told, namespace+" "+s.Profile) })
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "early standard"},
		{func() { board.Note("shop", Standing{Profile: "standard"}) }, "shop standard"},
		{func() { board.Note("shop", Standing{Profile: "standard"}) }, ""},
		{func() { board.Note("shop", Standing{Profile: "standard", Policies: []string{"a"}}) }, "shop standard"},
		{func() { board.Note("shop", Standing{Profile: "prod"}) }, "shop standard, shop prod"},
		{func() { board.Forget("shop") }, "shop prod"},
		{func() { board.Forget("shop") }, ""},
	} {
		step.do()
		if got := strings.Join(told, ", "); got != step.want {
			t.Errorf("told %q, want %q", got, step.want)
		}
		told = nil
	}
	if _, known := board.Of("shop"); known {
		t.Error("a forgotten namespace is known")
	}
}

func TestFirstReasonStays(t *testing.T) {
	s := Standing{}
	if !s.Ready() {
		t.Error("nothing is wrong, and it is not ready")
	}
	s.Fail("ProfileFailed", "one")
	s.Fail("BaselineFailed", "two")
	if s.Ready() || s.Reason != "ProfileFailed" || s.Message != "one" {
		t.Errorf("%+v", s)
	}
}

// Anybody may write any label, so labels of namespaces are no labels of metrics.
func TestMetricIsBounded(t *testing.T) {
	board := New()
	for i := range 100 {
		board.Note(fmt.Sprint("namespace-", i), Standing{Mode: fmt.Sprint("mode-", i), Profile: fmt.Sprint("profile-", i)})
	}
	board.Note("shop", Standing{Mode: "enforce", Profile: "standard", Held: profile.Shipped(baseline.Enforce)[1]})
	want := []string{
		`bulkhead_namespaces{mode="enforce",profile="standard",ready="true"} 1`,
		`bulkhead_namespaces{mode="unknown",profile="unknown",ready="true"} 100`,
	}
	header := "# HELP bulkhead_namespaces Namespaces by mode, profile, and whether they have what these ask for.\n# TYPE bulkhead_namespaces gauge\n"
	if err := testutil.CollectAndCompare(board, strings.NewReader(header+strings.Join(slices.Sorted(slices.Values(want)), "\n")+"\n")); err != nil {
		t.Error(err)
	}
}
