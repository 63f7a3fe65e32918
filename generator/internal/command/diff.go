// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func diff() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Print which connections become possible and impossible between two sets of manifests",
		Long: `Compares what two sets of manifests mean, not how they are written: the connections that are added,
changed and removed, between workloads, with addresses outside, and with pods that do not exist yet. Each names
the policies that decide, with file:line.

OLD and NEW are a file, a folder, a kustomization, or - for standard input (one of them). Give the
workloads on both sides, not only the policies.

The exit status is 0 if the connections are the same, 1 if they differ, 2 if there is no answer.`,
		Example: `  bulkhead diff before/ after/
  git worktree add /tmp/main main && bulkhead diff /tmp/main/manifests manifests -o markdown > comment.md
  helm template shop ./chart --set strict=true | bulkhead diff manifests/ -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &Status{Code: 2, Err: fmt.Errorf("diff: give two paths, OLD and NEW, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, paths []string) error {
			changes, err := compare(cmd, paths[0], paths[1], output)
			if err == nil {
				err = printChanges(cmd.OutOrStdout(), changes, output)
			}
			switch {
			case err != nil:
				return &Status{Code: 2, Err: err}
			case len(changes) > 0:
				return &Status{Code: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or markdown")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &Status{Code: 2, Err: err} })
	return cmd
}

func compare(cmd *cobra.Command, oldPath, newPath, output string) ([]change, error) {
	if err := oneOf("output", output, "table", "json", "markdown"); err != nil {
		return nil, err
	}
	if oldPath == "-" && newPath == "-" {
		return nil, errors.New("only one of OLD and NEW can be standard input")
	}
	before, err := load(cmd, []string{oldPath}, "")
	if err != nil {
		return nil, fmt.Errorf("OLD: %w", err)
	}
	after, err := load(cmd, []string{newPath}, "")
	if err != nil {
		return nil, fmt.Errorf("NEW: %w", err)
	}
	found, err := reach.Diff(before.cluster, after.cluster)
	if err != nil {
		return nil, err
	}
	changes := make([]change, 0, len(found))
	for _, c := range found {
		changes = append(changes, describe(&c, before, after))
	}
	slices.SortStableFunc(changes, func(a, b change) int { return slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind) })
	return changes, nil
}

// kinds of changes, what adds risk first.
var kinds = []string{"added", "changed", "removed"}

// change is a connection that is added, changed or removed, in words.
type change struct {
	Kind        string   `json:"change"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Old         []ports  `json:"old"` // empty: nothing might pass
	New         []ports  `json:"new"`
	Added       []ports  `json:"added"`
	Removed     []ports  `json:"removed"`
	Notes       []string `json:"notes,omitempty"`
	Because     []cause  `json:"because"`

	old, new string
}

// cause is a part of a policy that decides.
type cause struct {
	Side   string `json:"side"` // old or new
	Object string `json:"object"`
	Path   string `json:"path"`
	Effect string `json:"effect"` // allows, denies, isolates or passes
	At     string `json:"at,omitempty"`
}

func describe(c *reach.Change, before, after *loaded) change {
	d := change{
		Kind: "changed", Source: c.From.String(), Destination: c.To.String(), old: portsText(c.Old), new: portsText(c.New),
		Old: protocols(c.Old), New: protocols(c.New), Added: protocols(c.Added()), Removed: protocols(c.Removed()), Because: []cause{},
	}
	switch {
	case c.Old.Empty():
		d.Kind = "added"
	case c.New.Empty():
		d.Kind = "removed"
	}
	for _, e := range c.Appeared {
		d.Notes = append(d.Notes, e.String()+" is new")
	}
	for _, e := range c.Gone {
		d.Notes = append(d.Notes, e.String()+" is gone")
	}
	for _, b := range c.Causes {
		side, where := "old", before
		if b.New {
			side, where = "new", after
		}
		o := &b.Origin
		object := o.Kind + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
		d.Because = append(d.Because, cause{side, object, o.Path, string(b.Effect), where.position(netpol.Key{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, o.Path)})
	}
	return d
}

// ports are the ports of a change, with those from before where both are.
func (c *change) ports() string {
	switch c.Kind {
	case "added":
		return c.new
	case "removed":
		return c.old
	}
	return c.old + " → " + c.new
}

// because is why, as a list.
func (c *change) because() []string {
	because := slices.Clone(c.Notes)
	for _, b := range c.Because {
		text := fmt.Sprintf("%s: %s %s %s", b.Side, b.Object, b.Path, b.Effect)
		if b.At != "" {
			text += " (" + b.At + ")"
		}
		because = append(because, text)
	}
	return because
}

func printChanges(out io.Writer, changes []change, output string) error {
	switch {
	case output == "json":
		return printJSON(out, changes)
	case output == "markdown":
		_, err := io.WriteString(out, markdown(changes))
		return err
	case len(changes) == 0:
		_, err := fmt.Fprintln(out, "the same connections")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANGE\tFROM\tTO\tPORTS\tBECAUSE")
	for _, c := range changes {
		because := c.because()
		if len(because) == 0 {
			because = []string{""}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c.Kind, printable(c.Source), printable(c.Destination), c.ports(), printable(because[0]))
		for _, more := range because[1:] {
			fmt.Fprintf(w, "\t\t\t\t%s\n", printable(more))
		}
	}
	return w.Flush()
}

// maxOpen is how many rows of a comment are shown before they are folded.
const maxOpen = 30

// markdown is a comment for a pull request.
func markdown(changes []change) string {
	var b strings.Builder
	var counts []string
	for _, kind := range kinds {
		n := 0
		for _, c := range changes {
			if c.Kind == kind {
				n++
			}
		}
		counts = append(counts, fmt.Sprintf("%d %s", n, kind))
	}
	if len(changes) == 0 {
		return "**Connections:** no change.\n"
	}
	fmt.Fprintf(&b, "**Connections:** %s.\n", strings.Join(counts, ", "))
	for _, kind := range kinds {
		var rows []string
		for _, c := range changes {
			if c.Kind == kind {
				rows = append(rows, c.row())
			}
		}
		section(&b, kind, rows)
	}
	return b.String()
}

func section(b *strings.Builder, kind string, rows []string) {
	if len(rows) == 0 {
		return
	}
	title := strings.ToUpper(kind[:1]) + kind[1:]
	fold := len(rows) > maxOpen
	if fold {
		fmt.Fprintf(b, "\n<details><summary>%s: %d connections</summary>\n", title, len(rows))
	} else {
		fmt.Fprintf(b, "\n### %s\n", title)
	}
	b.WriteString("\n| from | to | ports | because |\n| --- | --- | --- | --- |\n" + strings.Join(rows, ""))
	if fold {
		b.WriteString("\n</details>\n")
	}
}

func (c *change) row() string {
	cells := []string{cell(c.Source), cell(c.Destination), cell(c.ports())}
	var because []string
	for _, text := range c.because() {
		because = append(because, cell(text))
	}
	return "| " + strings.Join(append(cells, strings.Join(because, "<br>")), " | ") + " |\n"
}

// cell makes text from manifests harmless in a table: as code, on one line, without what ends a cell or the code.
func cell(s string) string {
	s = strings.NewReplacer("|", "¦", "`", "'").Replace(strings.TrimPrefix(printable(s), "'"))
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
