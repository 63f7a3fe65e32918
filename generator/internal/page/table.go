// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

const (
	maxRows  = 500 // of each table
	maxWords = 5   // nodes and names in a cell
)

// line is a text from outside, of which only what can be seen is shown.
type line string

func (l line) String() string { return printable(string(l)) }

// printable is a text in which nothing is hidden, such as marks that turn the direction of writing.
func printable(text string) string { return wording.Printable(strings.ToValidUTF8(text, "?")) }

// table is the first rows of a list, and how many more there are.
type table[T any] struct {
	Rows []T
	More int
}

func (t table[T]) Total() int { return len(t.Rows) + t.More }

// cut makes rows of the first maxRows items.
func cut[S, T any](items []S, row func(*S) T) table[T] {
	t := table[T]{More: max(0, len(items)-maxRows)}
	for i := range items[:len(items)-t.More] {
		t.Rows = append(t.Rows, row(&items[i]))
	}
	return t
}

func lines(items []string) table[line] {
	return cut(items, func(s *string) line { return line(*s) })
}

// row is a connection in a table.
type row struct {
	From, To, Port string
	Flows          string
	Count          uint64 // to sort by
	First, Last    stamp
	Days           int
	Nodes, Names   string
	// Allowed by which rules; empty for what was not learned.
	Allowed []string
	Audited bool
	// Reason and detail why it was not learned, or why the plan accepts it.
	Reason evidence.Reason
	Detail string
}

func rowOf(k edge.Key, e *edge.Evidence) row {
	n, estimated := e.Flows.Value()
	return row{
		From: printable(k.From.String()), To: printable(k.To.String()), Port: portText(k), Flows: flowText(n, estimated), Count: n,
		First: stamp(e.First), Last: stamp(e.Last), Days: e.Days.Len(), Nodes: some(e.Nodes), Names: some(e.Names),
	}
}

func listedRow(l *evidence.Listed) row {
	r := rowOf(l.Edge.Key, &l.Edge.Evidence)
	r.Reason, r.Detail = l.Reason, printable(l.Detail)
	return r
}

// portText is "TCP/80"; without the port where it is not known.
func portText(k edge.Key) string {
	if k.Port == 0 {
		return printable(string(k.Protocol))
	}
	return fmt.Sprintf("%s/%d", printable(string(k.Protocol)), k.Port)
}

func flowText(n uint64, estimated bool) string {
	if estimated {
		return fmt.Sprintf("about %d", n)
	}
	return fmt.Sprint(n)
}

// some are the first words of a set.
func some(words []string) string {
	text := printable(strings.Join(words[:min(len(words), maxWords)], ", "))
	if more := len(words) - maxWords; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// stamp is a time in UTC; zero: never.
type stamp time.Time

func (s stamp) IsZero() bool { return time.Time(s).IsZero() }

// ISO is the time for programs.
func (s stamp) ISO() string { return time.Time(s).UTC().Format(time.RFC3339) }

func (s stamp) String() string {
	if s.IsZero() {
		return "never"
	}
	return time.Time(s).UTC().Format("2006-01-02 15:04")
}
