// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestSelectorsAreTold: only the same labels have the same selector, also when words are made to run into each other.
func TestSelectorsAreTold(t *testing.T) {
	all := []metav1.LabelSelector{
		{MatchLabels: map[string]string{"a": "b"}},
		{MatchLabels: map[string]string{"a": "b", "c": "d"}},
		{MatchLabels: map[string]string{"a": "b\x01c\x01d"}},
		{MatchLabels: map[string]string{"a": "", "b": ""}},
		{MatchLabels: map[string]string{"a\x00\x01b": ""}},
		{MatchLabels: map[string]string{"a": "b"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "c", Operator: metav1.LabelSelectorOpExists}}},
		{},
	}
	s := newSelectors()
	for i := range all {
		if found := s.find(&all[i]); found != nil {
			t.Errorf("%v has the selector of other labels", all[i])
		}
		s.keep(&all[i], labels.Everything())
	}
	if again := (metav1.LabelSelector{MatchLabels: map[string]string{"c": "d", "a": "b"}}); s.find(&again) == nil {
		t.Errorf("%v is not found again", again)
	}
}
