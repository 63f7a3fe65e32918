// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
	"github.com/bulkhead-dev/bulkhead/policies/profile"
	"github.com/bulkhead-dev/bulkhead/webhook/internal/standing"
)

var (
	standard  = profile.Shipped(baseline.Enforce)[1]
	strict    = profile.Shipped(baseline.Enforce)[2]
	selecting = &profile.Profile{ObjectMeta: metav1.ObjectMeta{Name: "prod"}, Spec: profile.Spec{NamespaceSelector: &metav1.LabelSelector{}}}
	dns       = baseline.DNSTargets{Pods: []baseline.DNSPods{{Namespace: "kube-system"}}}
)

func TestConditions(t *testing.T) {
	for name, test := range map[string]struct {
		now  standing.Standing
		want string // Ready, DNSFound, ProfileMatches
	}{
		"in place":               {standing.Standing{Profile: "standard", Selected: "standard", Held: standard, DNS: dns}, "True/InPlace True/Found True/Selected"},
		"no DNS":                 {standing.Standing{Profile: "standard", Selected: "standard", Held: standard, DNS: baseline.DNSTargets{Assumed: "nothing"}}, "True/InPlace False/NotFound True/Selected"},
		"observe":                {standing.Standing{Mode: "observe", Profile: "standard", Selected: "standard", Held: standard}, "True/InPlace Unknown/NotNeeded True/Selected"},
		"named":                  {standing.Standing{Profile: "strict", Selected: "standard", Held: strict, DNS: dns}, "True/InPlace True/Found True/Named"},
		"another selects it":     {standing.Standing{Profile: "prod", Selected: "standard", Held: selecting, DNS: dns}, "True/InPlace True/Found False/AnotherSelects"},
		"profile is gone":        {standing.Standing{Profile: "gone", Selected: "standard", DNS: dns, Reason: "ProfileNotFound", Message: "no"}, "False/ProfileNotFound True/Found False/NotFound"},
		"policies cannot be put": {standing.Standing{Profile: "standard", Selected: "standard", Held: standard, DNS: dns, Reason: "BaselineFailed", Message: strings.Repeat("é", 9000)}, "False/BaselineFailed True/Found True/Selected"},
	} {
		var got []string
		for _, c := range conditions(&test.now) {
			got = append(got, string(c.Status)+"/"+c.Reason)
			if c.Message == "" || len(c.Message) > maxMessage+10 {
				t.Errorf("%s: message of %s has %d bytes", name, c.Type, len(c.Message))
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestTimesStayWhileNothingChanges(t *testing.T) {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := &profile.Bulkhead{}
	now := standing.Standing{Mode: "enforce", Profile: "standard", Selected: "standard", Held: standard, DNS: dns, Wanted: 2, Policies: []string{"a", "b"}}
	show(b, &now, begin)
	before := b.DeepCopy()
	show(b, &now, begin.Add(time.Hour))
	if fmt.Sprint(b) != fmt.Sprint(before) || b.Status.Summary != "2/2" {
		t.Errorf("%+v became %+v", before.Status, b.Status)
	}
	now.Mode = "audit"
	show(b, &now, begin.Add(2*time.Hour))
	if !b.Status.Since.Time.Equal(begin.Add(2 * time.Hour)) {
		t.Errorf("since %s", b.Status.Since)
	}
}

func TestProfileStatus(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("namespace-%02d (not reached yet)", i)
	}
	for name, test := range map[string]struct {
		of           *profile.Profile
		all, updated int32
		behind       []string
		want         string
	}{
		"no namespaces": {standard, 0, 0, nil, "Valid UpToDate 0 namespaces have what the profile asks for"},
		"all":           {standard, 7, 7, nil, "Valid UpToDate 7 namespaces have what the profile asks for"},
		"some":          {standard, 2, 1, []string{"shop (x)"}, "Valid Progressing 1 of 2 namespaces; behind: shop (x)"},
		"many": {standard, 100, 0, many, "Valid Progressing 0 of 100 namespaces; behind: namespace-00 (not reached yet), namespace-01 (not reached yet), " +
			"namespace-02 (not reached yet), namespace-03 (not reached yet), namespace-04 (not reached yet)"},
		"invalid": {&profile.Profile{Spec: profile.Spec{StartingMode: "nonsense"}}, 0, 0, nil, "Invalid UpToDate 0 namespaces have what the profile asks for"},
	} {
		of := test.of.DeepCopy()
		of.Generation = 4
		fill(of, test.all, test.updated, test.behind)
		accepted, rolledOut := meta.FindStatusCondition(of.Status.Conditions, profile.Accepted), meta.FindStatusCondition(of.Status.Conditions, profile.RolledOut)
		if got := accepted.Reason + " " + rolledOut.Reason + " " + rolledOut.Message; got != test.want || of.Status.ObservedGeneration != 4 {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
