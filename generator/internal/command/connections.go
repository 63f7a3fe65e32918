// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/draw"
	"github.com/bulkhead-dev/bulkhead/generator/internal/reach"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// selection is which connections are printed. Its zero value is all of them.
type selection struct{ from, to, namespace string }

func connections() *cobra.Command {
	var (
		s                  selection
		kubeconfig, output string
		exposure           bool
	)
	cmd := &cobra.Command{
		Use:   "connections (PATH… | --kubeconfig F)",
		Short: "Print what may talk to what",
		Long: `Prints every connection that the policies leave open: between workloads, with addresses outside, and
with pods that do not exist yet, which is what a namespace or a label that anybody may create would
open.

A PATH is a file, a folder, a kustomization, or - for standard input. With --kubeconfig the objects
are those of a live cluster. Namespaces that are not given are taken to exist with their standard label.

Ports are those of the destination's pods. In json and csv, one entry is one protocol of one
connection; "All" is every port of every protocol, and "Other" the protocols without ports.

"any pod" is a pod in a namespace that has no labels and no policies. "pods app=web in namespace shop" would
be there if somebody made them. What is open to any pod is not repeated for others.`,
		Example: `  bulkhead connections manifests/
  helm template shop ./chart | bulkhead connections -
  bulkhead connections --to shop/api --exposure=false manifests/ policies/
  bulkhead connections -n shop -o svg manifests/ > shop.svg
  bulkhead connections --kubeconfig ~/.kube/config -o json | jq '.[] | select(.source | startswith("0.0.0.0/0"))'`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			if err := oneOf("output", output, "table", "json", "csv", "dot", "mermaid", "svg"); err != nil {
				return err
			}
			found, err := load(cmd, paths, kubeconfig)
			if err != nil {
				return err
			}
			m, err := reach.Find(found.cluster, exposure)
			if err != nil {
				return err
			}
			if m, err = s.of(m); err != nil {
				return err
			}
			for _, w := range m.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), printable(w))
			}
			return printMap(cmd.OutOrStdout(), m, output)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "only connections of this workload, as namespace/name")
	f.StringVar(&s.to, "to", "", "only connections to this workload, as namespace/name")
	f.StringVarP(&s.namespace, "namespace", "n", "", "only connections from or to this namespace")
	f.BoolVar(&exposure, "exposure", true, "also pods that do not exist yet")
	f.StringVar(&kubeconfig, "kubeconfig", "", "read this live cluster instead of files")
	f.StringVarP(&output, "output", "o", "table", "table, json, csv, dot, mermaid or svg")
	return cmd
}

// loaded is a cluster, and where its objects stand.
type loaded struct {
	*objects
	cluster *reach.Cluster
}

// load reads files or a live cluster. A faulty policy is an error, because what it means is not known.
func load(cmd *cobra.Command, paths []string, kubeconfig string) (*loaded, error) {
	objs, err := readObjects(cmd, paths, kubeconfig)
	if err != nil {
		return nil, err
	}
	l := &loaded{objects: objs}
	workloads := reach.Workloads(objs.inventory)
	if len(workloads) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "there are no workloads: give the Deployments and other objects that have pods, too")
	}
	if l.cluster, err = reach.New(reach.Input{Objects: objs.Objects, Workloads: workloads}); err != nil {
		return nil, l.faults(err)
	}
	return l, nil
}

// faults says of each fault of a policy where it stands.
func (l *loaded) faults(err error) error {
	var all []error
	for _, f := range netpol.ObjectErrors(err) {
		k := netpol.Key{}
		k.Kind, k.Name, _ = strings.Cut(f.Object, " ")
		if namespace, name, ok := strings.Cut(k.Name, "/"); ok {
			k.Namespace, k.Name = namespace, name
		}
		if at := l.position(k, f.Path); at != "" {
			all = append(all, fmt.Errorf("%s: %w", at, f))
		} else {
			all = append(all, f)
		}
	}
	if all == nil {
		return err
	}
	return errors.Join(all...)
}

// of is the part of a map that was asked for.
func (s *selection) of(m *reach.Map) (*reach.Map, error) {
	for _, f := range [][2]string{{"from", s.from}, {"to", s.to}} {
		flag, name := f[0], f[1]
		if name != "" && !slices.ContainsFunc(m.Ends, func(e reach.End) bool { return is(e, name) }) {
			return nil, fmt.Errorf("--%s %s: there is no such workload; give namespace/name", flag, name)
		}
	}
	if s.namespace != "" && !slices.ContainsFunc(m.Ends, func(e reach.End) bool { return e.Namespace == s.namespace }) {
		return nil, fmt.Errorf("--namespace %s: there is no workload in it", s.namespace)
	}
	if *s == (selection{}) {
		return m, nil
	}
	part := &reach.Map{Warnings: m.Warnings}
	used := map[reach.End]bool{}
	for _, l := range m.Lines {
		if s.has(l) {
			part.Lines = append(part.Lines, l)
			used[l.From], used[l.To] = true, true
		}
	}
	for _, e := range m.Ends {
		if used[e] || s.namespace != "" && e.Namespace == s.namespace {
			part.Ends = append(part.Ends, e)
		}
	}
	return part, nil
}

func (s *selection) has(l reach.Line) bool {
	return (s.from == "" || is(l.From, s.from)) && (s.to == "" || is(l.To, s.to)) &&
		(s.namespace == "" || l.From.Namespace == s.namespace || l.To.Namespace == s.namespace)
}

func is(e reach.End, name string) bool { return e.IsWorkload() && e.Namespace+"/"+e.Name == name }

func printMap(out io.Writer, m *reach.Map, output string) error {
	switch output {
	case "dot":
		return draw.DOT(out, m)
	case "mermaid":
		return draw.Mermaid(out, m)
	case "svg":
		return draw.SVG(out, m)
	case "json":
		return printJSON(out, entries(m))
	case "csv":
		w := csv.NewWriter(out)
		rows := [][]string{{"source", "destination", "protocol", "ports"}}
		for _, e := range entries(m) {
			rows = append(rows, []string{printable(e.Source), printable(e.Destination), e.Protocol, e.Ports})
		}
		return w.WriteAll(rows)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FROM\tTO\tPORTS")
	for _, l := range m.Lines {
		fmt.Fprintf(w, "%s\t%s\t%s\n", printable(l.From.String()), printable(l.To.String()), portsText(l.Ports))
	}
	return w.Flush()
}

// entry is one protocol of one connection.
type entry struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	ports
}

// ports are some ports of a protocol: "80,443-450", or "1-65535". Protocol "All" and "Other" have none.
type ports struct {
	Protocol string `json:"protocol"`
	Ports    string `json:"ports"`
}

func entries(m *reach.Map) []entry {
	all := []entry{}
	for _, l := range m.Lines {
		for _, p := range protocols(l.Ports) {
			all = append(all, entry{l.From.String(), l.To.String(), p})
		}
	}
	return all
}

// protocols are the parts of a set, one for each protocol; none is an empty list.
func protocols(set netpol.PortSet) []ports {
	if set.All() {
		return []ports{{"All", ""}}
	}
	all := []ports{}
	for _, r := range set.Ranges() {
		text := fmt.Sprint(r.To)
		if from := max(r.From, 1); from < r.To { // nothing listens on port 0
			text = fmt.Sprintf("%d-%d", from, r.To)
		}
		if last := len(all) - 1; last >= 0 && all[last].Protocol == string(r.Protocol) {
			all[last].Ports += "," + text
		} else {
			all = append(all, ports{string(r.Protocol), text})
		}
	}
	if set.Other() {
		all = append(all, ports{"Other", ""})
	}
	return all
}

// portsText is "TCP/80,443-450 UDP/53", "all", or "none".
func portsText(set netpol.PortSet) string {
	if set.All() || set.Empty() {
		return set.String()
	}
	var parts []string
	for _, p := range protocols(set) {
		parts = append(parts, strings.TrimSuffix(p.Protocol+"/"+p.Ports, "/"))
	}
	return strings.Join(parts, " ")
}
