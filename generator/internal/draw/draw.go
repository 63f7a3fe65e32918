// SPDX-License-Identifier: Apache-2.0

// Package draw makes pictures of what may talk to what.
//
// DOT and Mermaid are graphs: a box a namespace, an arrow a connection, and one arrow for many where an
// end talks in the same way to a whole namespace. SVG is a matrix, because a graph of 60 workloads is
// unreadable whatever the layout: a row connects, a column is connected to.
//
// Every picture has a limit. Above it the picture is of namespaces, and says so. Names come from
// manifests that nobody has checked: each format has one function that makes any text harmless in it.
// The same map gives the same bytes.
package draw

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
)

const (
	// maxNodes is how many ends a graph shows.
	maxNodes = 500
	// maxEdges is how many arrows a graph shows: Mermaid refuses to draw more than 500.
	maxEdges = 500
	// maxMermaid is how many characters Mermaid reads by default: 50,000.
	maxMermaid = 50000
	// maxRows is how many ends a matrix shows, as rows and as columns.
	maxRows = 120
	// maxWarnings is how many of a map's warnings a picture repeats.
	maxWarnings = 10
)

// DOT writes the map as a graph for Graphviz. The error is the writer's, or that a line has an end that
// the map does not list.
func DOT(w io.Writer, m *reach.Map) error {
	s, err := read(m)
	if err != nil {
		return err
	}
	return write(w, dot(s.graph()))
}

// Mermaid writes the map as a Mermaid flowchart, within Mermaid's default limits. Errors are those of DOT.
func Mermaid(w io.Writer, m *reach.Map) error {
	s, err := read(m)
	if err != nil {
		return err
	}
	p, bundles := s.graph()
	text := mermaid(p, bundles)
	for limit := maxRows; len(text) > maxMermaid; limit /= 2 {
		p = s.summary(limit)
		text = mermaid(p, p.bundles())
	}
	return write(w, text)
}

// SVG writes the map as a matrix: a picture without scripts that needs nothing beside it. Errors are
// those of DOT.
func SVG(w io.Writer, m *reach.Map) error {
	s, err := read(m)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if len(s.ends) <= maxRows {
		matrix(out, s.detailed())
	} else {
		matrix(out, s.summary(maxRows))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}

// graph is the picture with the most detail that has at most maxNodes nodes and maxEdges edges.
func (s *source) graph() (*picture, []bundle) {
	if len(s.ends) <= maxNodes {
		p := s.detailed()
		if all := p.bundles(); len(all) <= maxEdges {
			return p, all
		}
	}
	for limit := maxRows; ; limit /= 2 {
		p := s.summary(limit)
		if all := p.bundles(); len(all) <= maxEdges {
			return p, all
		}
	}
}

func write(w io.Writer, text string) error {
	if _, err := io.Copy(w, strings.NewReader(text)); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}
