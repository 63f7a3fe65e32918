// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"fmt"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// source is a map with numbers in the place of ends and sets of ports.
type source struct {
	ends     []reach.End
	of       []int   // the group of each end
	groups   []group // first and last are of ends
	lines    []line
	sets     []set
	warnings []string
}

type line struct{ from, to, set int }

// group is neighbours in a picture: the workloads of a namespace, the addresses outside, or the pods that
// do not exist yet.
type group struct {
	name        string
	form        form
	first, last int // both included
}

func (g group) size() int { return g.last - g.first + 1 }

type form int

const (
	workloads form = iota
	outside
	future
)

// set is one way to talk.
type set struct {
	ports netpol.PortSet
	text  string
	class class
}

// class says how much a set of ports opens.
type class int

const (
	narrow class = iota // some ports
	broad               // every port of a protocol
	everything
)

func classify(ports netpol.PortSet) class {
	if ports.All() {
		return everything
	}
	for _, r := range ports.Ranges() {
		if r.From <= 1 && r.To == 65535 {
			return broad
		}
	}
	return narrow
}

func read(m *reach.Map) (*source, error) {
	s := &source{ends: m.Ends, of: make([]int, len(m.Ends)), warnings: m.Warnings}
	for i, e := range m.Ends {
		f, name := describe(e)
		if last := len(s.groups) - 1; last < 0 || s.groups[last].form != f || s.groups[last].name != name {
			s.groups = append(s.groups, group{name: name, form: f, first: i})
		}
		s.of[i] = len(s.groups) - 1
		s.groups[s.of[i]].last = i
	}
	return s, s.number(m)
}

// number turns the map's lines into the source's. Neighbours often have the same end and the same ports.
func (s *source) number(m *reach.Map) error {
	place, known := places(m.Ends), map[string]int{}
	s.lines = make([]line, 0, len(m.Lines))
	var from int
	for i, l := range m.Lines {
		var err error
		if i == 0 || l.From != m.Lines[i-1].From {
			if from, err = place(l.From); err != nil {
				return err
			}
		}
		to, err := place(l.To)
		if err != nil {
			return err
		}
		s.lines = append(s.lines, line{from, to, s.intern(l.Ports, known)})
	}
	return nil
}

func describe(e reach.End) (form, string) {
	switch {
	case e.Outside != nil:
		return outside, "Outside of the cluster"
	case e.Future != nil:
		return future, "Pods that do not exist yet"
	}
	return workloads, e.Namespace
}

// places finds an end's place: by what it points to, or else by what it says.
func places(ends []reach.End) func(reach.End) (int, error) {
	same, alike := make(map[reach.End]int, len(ends)), map[string]int{}
	for i, e := range ends {
		same[e] = i
		if !e.IsWorkload() {
			alike[e.String()] = i
		}
	}
	return func(e reach.End) (int, error) {
		if i, ok := same[e]; ok {
			return i, nil
		}
		if i, ok := alike[e.String()]; ok {
			return i, nil
		}
		return 0, fmt.Errorf("draw %s: it has a connection but is not among the map's ends", e)
	}
}

// intern numbers a set of ports.
func (s *source) intern(ports netpol.PortSet, known map[string]int) int {
	if n := len(s.lines); n > 0 {
		if last := s.lines[n-1].set; s.sets[last].ports.Equal(ports) {
			return last
		}
	}
	text := ports.String()
	i, ok := known[text]
	if !ok {
		i = len(s.sets)
		known[text] = i
		s.sets = append(s.sets, set{ports, text, classify(ports)})
	}
	return i
}
