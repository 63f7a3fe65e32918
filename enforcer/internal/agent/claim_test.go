// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

func TestClaims(t *testing.T) {
	passed, failed := &report.SelfTest{Passed: true}, &report.SelfTest{}
	for _, tc := range []struct {
		r    report.Report
		want string
	}{
		{report.Report{Problems: []string{"not read yet"}}, "Unknown Starting"},
		{report.Report{Generation: 1, Problems: []string{"the self-test has not ended yet"}}, "Unknown Starting"},
		{report.Report{Generation: 1, Problems: []string{"pod a", "the self-test has not ended yet"}}, "False NotUpToDate"},
		{report.Report{Generation: 1, SelfTest: failed, Problems: []string{"the self-test failed"}}, "False SelfTestFailed"},
		{report.Report{Generation: 1, SelfTest: passed, Problems: []string{"pod a"}}, "False NotUpToDate"},
		{report.Report{Generation: 1, SelfTest: passed, Ready: true}, "True PoliciesEnforced"},
	} {
		if got := claimOf(&tc.r); string(got.status)+" "+got.reason != tc.want {
			t.Errorf("%+v: %+v, want %s", tc.r, got, tc.want)
		}
	}
	long := claim{problems: strings.Repeat("pød ", 1000)}
	if got := long.message(7); len(got) > maxMessage || !strings.HasPrefix(got, "generation 7: pød ") || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("a long message has %d bytes: %q", len(got), got)
	}
}

func TestWhenClaimsAreWritten(t *testing.T) {
	at := time.Now()
	good, bad := claim{corev1.ConditionTrue, reasonEnforcing, ""}, claim{corev1.ConditionFalse, reasonProblems, "pod a"}
	starting := claim{corev1.ConditionUnknown, reasonStarting, ""}
	for _, tc := range []struct {
		c    condition
		now  claim
		want time.Duration
	}{
		{condition{tried: at}, starting, writeAtMost},
		{condition{tried: at}, good, 0},
		{condition{tried: at, told: "forbidden"}, good, writeAtMost},
		{condition{tried: at, written: good}, bad, writeAtMost},
		{condition{tried: at.Add(-writeAtLeast), written: good}, bad, writeAtMost - writeAtLeast},
		{condition{tried: at, written: good}, good, writeAtLeast},
	} {
		if got := tc.c.wait(tc.now, at); got != tc.want {
			t.Errorf("%+v, now %+v: waits %s, want %s", tc.c, tc.now, got, tc.want)
		}
	}
}
