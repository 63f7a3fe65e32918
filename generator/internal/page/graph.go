// SPDX-License-Identifier: Apache-2.0

package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
)

const (
	maxOwn      = 40 // workloads of the namespace in the picture; more are one box
	maxOutside  = 12 // ends on either side of it; more are one box for each namespace, and one for addresses
	maxArcs     = 400
	maxLabel    = 21 // letters in a box
	maxSubtitle = 25
)

// place is where a box stands in the picture.
type place int

const (
	source      place = iota // left of the namespace
	own                      // of the namespace
	destination              // right of it
)

// box is an end in the picture, or several.
type box struct {
	place       place
	key         string // what makes it one box
	name, about string
	serves      []string // ports
	members     map[edge.Endpoint]bool

	layer            int
	left, at, height float64 // at is its middle
	drop             bool    // it is only a bend of an arc
	order            int
	ins, outs        []*arc
}

// fate is what becomes of a connection. A worse one covers a better one.
type fate string

const (
	allowed  fate = "allowed"
	audited  fate = "audited"
	doubtful fate = "doubtful"
	denied   fate = "denied"
)

var fates = []fate{allowed, audited, doubtful, denied}

// arc is all connections of one fate from one box to another.
type arc struct {
	from, to *box
	fate     fate
	ports    []string
	bends    []*box // between from and to
	back     bool   // against the order of layers
}

// sketch collects boxes and arcs.
type sketch struct {
	namespace string
	boxes     []*box
	byKey     map[string]*box
	arcs      []*arc
	byEnds    map[string]*arc
	fold      folding
	baseline  int // connections that are not drawn
	leftOut   int // arcs that are not drawn
}

// folding says which ends share a box.
type folding struct {
	own       map[edge.Endpoint]bool // with a box of their own; nil: all
	outside   [3]bool                // by place: one box a namespace
	addresses [3]bool
	together  [3]bool
}

// graphOf draws a namespace's connections, and those that wait for a decision or were refused.
func graphOf(n *proposal.Namespace) *graph {
	s := &sketch{namespace: n.Name, byKey: map[string]*box{}, byEnds: map[string]*arc{}}
	s.fold = foldingOf(n)
	rules := rulesOf(n)
	for i := range n.Connections {
		c := &n.Connections[i]
		if len(rules[wireOf(c)]) == 0 {
			s.baseline++
			continue
		}
		f := allowed
		if c.Audited {
			f = audited
		}
		s.add(c.From, c.To, portText(wireOf(c)), f)
	}
	for i := range n.Listed {
		if l := &n.Listed[i]; undecided(l) || l.Reason == evidence.Rejected {
			f := doubtful
			if l.Reason == evidence.Denied || l.Reason == evidence.Rejected {
				f = denied
			}
			s.add(l.Edge.From, l.Edge.To, portText(l.Edge.Key), f)
		}
	}
	if len(s.boxes) == 0 {
		return nil
	}
	s.limit()
	return s.layOut().draw()
}

// foldingOf decides what shares a box, so that the picture has at most maxOwn and twice about maxOutside boxes.
func foldingOf(n *proposal.Namespace) (f folding) {
	uses := map[edge.Endpoint]int{}
	var pods, addresses [3]map[edge.Endpoint]bool
	var namespaces [3]map[string]bool
	for i := range pods {
		pods[i], addresses[i], namespaces[i] = map[edge.Endpoint]bool{}, map[edge.Endpoint]bool{}, map[string]bool{}
	}
	each := func(e edge.Endpoint, p place) {
		switch {
		case e.IsPod() && e.Namespace == n.Name:
			uses[e]++
		case e.IsPod():
			pods[p][e], namespaces[p][e.Namespace] = true, true
		default:
			addresses[p][e] = true
		}
	}
	for i := range n.Connections {
		each(n.Connections[i].From, source)
		each(n.Connections[i].To, destination)
	}
	for i := range n.Listed {
		if l := &n.Listed[i]; undecided(l) || l.Reason == evidence.Rejected {
			each(l.Edge.From, source)
			each(l.Edge.To, destination)
		}
	}
	for p := range pods {
		f.outside[p], f.addresses[p] = len(pods[p]) > maxOutside, len(addresses[p]) > maxOutside/2
		f.together[p] = len(namespaces[p]) > maxOutside
	}
	if len(uses) > maxOwn {
		busiest := make([]edge.Endpoint, 0, len(uses))
		for e := range uses {
			busiest = append(busiest, e)
		}
		slices.SortFunc(busiest, func(a, b edge.Endpoint) int { return cmp.Or(uses[b]-uses[a], a.Compare(b)) })
		f.own = map[edge.Endpoint]bool{}
		for _, e := range busiest[:maxOwn-1] {
			f.own[e] = true
		}
	}
	return f
}

func (s *sketch) add(from, to edge.Endpoint, port string, f fate) {
	a, b := s.box(from, source), s.box(to, destination)
	if !slices.Contains(b.serves, port) && (f == allowed || f == audited) {
		b.serves = append(b.serves, port)
	}
	key := fmt.Sprintf("%p %p %s", a, b, f)
	link := s.byEnds[key]
	if link == nil {
		link = &arc{from: a, to: b, fate: f}
		s.byEnds[key] = link
		s.arcs = append(s.arcs, link)
	}
	if !slices.Contains(link.ports, port) {
		link.ports = append(link.ports, port)
	}
}

// box is the box of an end on a side.
func (s *sketch) box(e edge.Endpoint, p place) *box {
	b := box{place: p, members: map[edge.Endpoint]bool{}}
	switch {
	case e.IsPod() && e.Namespace == s.namespace:
		b.place = own
		if b.name, b.about = e.Name, e.Kind; s.fold.own != nil && !s.fold.own[e] {
			b.name, b.about, b.key = "other workloads", "of this namespace", "other"
		}
	case e.IsPod() && s.fold.together[p]:
		b.name, b.about, b.key = "other namespaces", "pods", "namespaces"
	case e.IsPod() && s.fold.outside[p]:
		b.name, b.about, b.key = e.Namespace, "namespace", "namespace "+e.Namespace
	case e.IsPod():
		b.name, b.about = e.Name, e.Kind+" in "+e.Namespace
	case s.fold.addresses[p]:
		b.name, b.about, b.key = "addresses", "outside of pods", "addresses"
	default:
		b.name, b.about = e.Addr.String(), cmp.Or(e.Entity, "address")
	}
	b.key = fmt.Sprint(b.place, " ", cmp.Or(b.key, "end "+e.String()))
	if s.byKey[b.key] == nil {
		s.byKey[b.key] = &b
		s.boxes = append(s.boxes, &b)
	}
	s.byKey[b.key].members[e] = true
	return s.byKey[b.key]
}

// limit leaves out arcs beyond maxArcs, the harmless ones first. Boxes stay.
func (s *sketch) limit() {
	if s.leftOut = max(0, len(s.arcs)-maxArcs); s.leftOut > 0 {
		slices.SortStableFunc(s.arcs, func(a, b *arc) int { return slices.Index(fates, b.fate) - slices.Index(fates, a.fate) })
		s.arcs = s.arcs[:maxArcs]
	}
}

// label is the box's name as it fits, and what is below it.
func (b *box) label() (name, below string) {
	about := b.about
	if len(b.members) > 1 {
		about = fmt.Sprintf("%d, %s", len(b.members), about)
	}
	switch n := len(b.serves); {
	case n == 1:
		about = b.serves[0] + " · " + about
	case n == 2:
		about = strings.Join(b.serves, ", ")
	case n > 2:
		about = fmt.Sprintf("%d ports · %s", n, about)
	}
	return shorten(b.name, maxLabel), shorten(about, maxSubtitle)
}

// full is the box in a sentence.
func (b *box) full() string {
	text := b.about + " " + b.name
	if len(b.members) == 1 {
		for e := range b.members {
			text = e.String()
		}
	} else if len(b.members) > 1 {
		text = fmt.Sprintf("%s (%d)", text, len(b.members))
	}
	return printable(text)
}

// shorten keeps both ends of a text: names often differ in the last letters only.
func shorten(text string, width int) string {
	runes := []rune(printable(text))
	if len(runes) <= width {
		return string(runes)
	}
	tail := width / 3
	return string(runes[:width-tail-1]) + "…" + string(runes[len(runes)-tail:])
}
