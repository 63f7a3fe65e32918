// SPDX-License-Identifier: Apache-2.0

package draw

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
)

// TestBundlesMeanTheSame takes every bundle apart again.
func TestBundlesMeanTheSame(t *testing.T) {
	for name, m := range samples() {
		s, err := read(m)
		if err != nil {
			t.Fatal(err)
		}
		p := s.detailed()
		var got []line
		for _, b := range p.bundles() {
			for from := b.from.first; from <= b.from.last; from++ {
				for to := b.to.first; to <= b.to.last; to++ {
					if from != to || b.selves || b.from == one(from) {
						got = append(got, line{from, to, b.cell.sets[0]})
					}
				}
			}
		}
		var want []line
		for _, c := range p.cells {
			want = append(want, line{c.from, c.to, c.sets[0]})
		}
		slices.SortFunc(got, func(a, b line) int { return (a.from-b.from)*len(p.nodes) + a.to - b.to })
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d lines became %d", name, len(want), len(got))
		}
	}
}

func TestBundles(t *testing.T) {
	for m, want := range map[*reach.Map][]string{
		mesh(): {
			"[0 2] -> [0 2] all", "[0 2] -> [3 5] TCP/80", "[1 1] -> [1 1] TCP/7946", "[3 5] -> [3 5] TCP/22 and itself", "[3 5] -> [6 6] TCP/53",
		},
		shop(): {
			"[0 0] -> [0 0] all", "[0 0] -> [3 3] TCP/9000", "[2 2] -> [3 5] TCP/9090", "[3 3] -> [0 0] TCP/5432", "[4 4] -> [0 0] TCP/5432",
			"[5 5] -> [3 3] TCP/8080", "[5 5] -> [4 4] TCP/8080", "[6 6] -> [5 5] TCP/443", "[7 7] -> [0 0] TCP/1-65535",
		},
	} {
		s, err := read(m)
		if err != nil {
			t.Fatal(err)
		}
		p, got := s.detailed(), []string(nil)
		for _, b := range p.bundles() {
			text := fmt.Sprintf("[%d %d] -> [%d %d] %s", b.from.first, b.from.last, b.to.first, b.to.last, p.passes(b.cell))
			if b.selves {
				text += " and itself"
			}
			got = append(got, text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	}
}

func TestSummaryCountsEveryConnection(t *testing.T) {
	for name, m := range samples() {
		s, err := read(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{0, 1, 7, maxRows} {
			p, pairs := s.summary(limit), 0
			for _, c := range p.cells {
				pairs += c.pairs
			}
			if pairs != len(m.Lines) || len(p.nodes) > limit+3 {
				t.Errorf("%s: %d of %d connections on %d nodes of at most %d", name, pairs, len(m.Lines), len(p.nodes), limit+3)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	all := samples()
	all["open"] = open(500)
	for name, m := range all {
		text := render(t, Mermaid, m)
		if arrows := strings.Count(text, "-->"); arrows > 500 || len(text) > 50000 {
			t.Errorf("%s: Mermaid gets %d arrows and %d characters", name, arrows, len(text))
		}
		if n := strings.Count(render(t, DOT, m), " -> n"); n > 500 {
			t.Errorf("%s: DOT gets %d arrows", name, n)
		}
		svg := render(t, SVG, m)
		if len(svg) > 4<<20 {
			t.Errorf("%s: the SVG has %d bytes", name, len(svg))
		}
		if says := strings.Contains(svg, "this is a summary by namespace"); says != (len(m.Ends) > maxRows) {
			t.Errorf("%s: %d ends, a summary: %v", name, len(m.Ends), says)
		}
	}
}

func TestSameBytes(t *testing.T) {
	for name, m := range samples() {
		for format, draw := range formats {
			if first, second := render(t, draw, m), render(t, draw, m); first != second {
				t.Errorf("%s.%s is not the same twice", name, format)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	lost := &reach.Map{Ends: []reach.End{workload("a", "a")}, Lines: []reach.Line{{From: workload("a", "a"), To: workload("b", "b"), Ports: tcp(1)}}}
	closed, w := io.Pipe()
	closed.CloseWithError(io.ErrClosedPipe)
	for format, draw := range formats {
		if err := draw(&bytes.Buffer{}, lost); err == nil || err.Error() != "draw Deployment b/b: it has a connection but is not among the map's ends" {
			t.Errorf("%s of a map without an end: %v", format, err)
		}
		if err := draw(w, shop()); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s on a closed pipe: %v", format, err)
		}
	}
}

// TestPointersDoNotMatter draws a map whose lines have ranges of their own, equal to those of its ends.
func TestPointersDoNotMatter(t *testing.T) {
	m, same := shop(), shop()
	for i, l := range m.Lines {
		if l.From.Outside != nil {
			m.Lines[i].From = addresses("0.0.0.0/0", "::/0")
		}
	}
	if render(t, SVG, m) != render(t, SVG, same) {
		t.Error("equal ranges are drawn as two")
	}
}
