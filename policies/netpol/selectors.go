// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	"encoding/binary"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selectors are those of labels alone, compiled: the peers of thousands of rules ask for the same few. Nil: none is kept.
type selectors struct {
	byLabels map[string]labels.Selector
	keys     []string // for text, as is the next
	buffer   []byte
}

func newSelectors() *selectors { return &selectors{byLabels: map[string]labels.Selector{}} }

// find returns a selector that was kept for the same labels; nil: none was.
func (s *selectors) find(ls *metav1.LabelSelector) labels.Selector {
	if s == nil || len(ls.MatchLabels) == 0 || len(ls.MatchExpressions) > 0 {
		return nil
	}
	return s.byLabels[string(s.text(ls.MatchLabels))]
}

func (s *selectors) keep(ls *metav1.LabelSelector, compiled labels.Selector) {
	if s != nil && len(ls.MatchLabels) > 0 && len(ls.MatchExpressions) == 0 {
		s.byLabels[string(s.text(ls.MatchLabels))] = compiled
	}
}

// text is the same for the same labels alone, whatever is in them. It holds until the next one.
func (s *selectors) text(of map[string]string) []byte {
	s.keys, s.buffer = s.keys[:0], s.buffer[:0]
	for k := range of {
		s.keys = append(s.keys, k)
	}
	slices.Sort(s.keys)
	for _, k := range s.keys {
		for _, word := range []string{k, of[k]} {
			s.buffer = append(binary.AppendUvarint(s.buffer, uint64(len(word))), word...)
		}
	}
	return s.buffer
}
