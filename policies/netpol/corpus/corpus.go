// SPDX-License-Identifier: Apache-2.0

// Package corpus reads the corpus of network policy cases, policies/netpol/testdata/corpus, for the
// tests of every package that judges connections: the evaluator, what lowers it into maps, and the
// datapath. It holds what a policy means; it does not judge anything itself.
//
// A case file is a txtar archive. Its comment says in short what is under test. Its sections:
//
//	-- objects.yaml --   Kubernetes objects, as many documents as needed
//	-- connections --    one expected verdict a line
//	-- errors --         one expected fault a line, "NetworkPolicy shop/api: spec.ingress[0]", in the
//	                     order in which netpol.Compile reports them; absent or empty: none
//
// A connection line is
//
//	allow shop/web -> shop/api TCP/3000  egress=NotIsolated ingress=RuleMatched(NetworkPolicy shop/api spec.ingress[0])
//
// An end is a pod "namespace/name", an address, or a pod at one of its addresses
// "namespace/name@address". A Service is written as its address or as "svc:namespace/name", and the line
// then ends with resolved=namespace/service:port@namespace/pod (and ~address if the pod sees a node's
// address as the source), or resolved=namespace/service if no pod stands behind it.
//
// In the brackets after a reason stand the rule that decided, or the policies that isolate the pod, then
// "passed" and the rule that left the decision to the next tier.
//
// A line "cites: id, id" of the comment, and a line "# cites: id, id" before a case line, name the
// sentences of the specification that the file or the case tests. policies/netpol/testdata/sentences.txt
// lists the sentences: "id  what it says", and " -- not testable: why" where no verdict and no fault
// can show it. An id is the document (v1: the doc comments of k8s.io/api/networking/v1; page: the page
// "Network Policies" of the Kubernetes documentation; v1alpha2: the doc comments of
// sigs.k8s.io/network-policy-api/apis/v1alpha2), the place in it, and the number of the sentence there.
// Blank lines and other lines that start with # mean nothing.
package corpus

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// File is one case file: objects, and what is expected of them.
type File struct {
	Path        string // as given to Load, joined with the file's name
	About       string // what is under test
	Cites       []Cite // in the order of the file
	YAML        []byte // objects.yaml as written
	Objects     netpol.Objects
	Connections []Connection
	Faults      []Fault // in the order in which netpol.Compile reports them
}

// Cite names a sentence of the specification that a case tests.
type Cite struct {
	Pos string // file:line
	ID  string // as in sentences.txt
}

// Connection is one expected verdict.
type Connection struct {
	Pos  string // file:line
	Line string // as written
	netpol.Connection
	Want Want
}

// Fault is one expected fault of an object.
type Fault struct {
	Pos          string // file:line
	Object, Path string // as in netpol.ObjectError
}

// Load reads all case files of a folder, in order of name. The error names file and line.
func Load(dir string) ([]*File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, fmt.Errorf("list the case files of %s: %w", dir, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no *.txtar files in %s; give the folder policies/netpol/testdata/corpus", dir)
	}
	slices.Sort(paths)
	var files []*File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the case file: %w", err)
		}
		f, err := Parse(path, data)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Parse reads one case file. The path is for positions only.
func Parse(path string, data []byte) (*File, error) {
	archive := txtar.Parse(data)
	f := &File{Path: path}
	f.comment(string(archive.Comment))
	if f.About == "" {
		return nil, fmt.Errorf("%s:1: the file must begin with what it tests", path)
	}
	for _, section := range archive.Files {
		first := 1 + lineOf(data, section.Name)
		if err := f.section(section, first); err != nil {
			return nil, err
		}
	}
	if f.YAML == nil || len(f.Connections)+len(f.Faults) == 0 {
		return nil, fmt.Errorf("%s:1: objects.yaml and at least one line of connections or errors are required", path)
	}
	return f, nil
}

// comment reads what stands before the first section.
func (f *File) comment(text string) {
	var about []string
	for i, line := range strings.Split(text, "\n") {
		if ids, ok := strings.CutPrefix(line, "cites:"); ok {
			f.Cites = append(f.Cites, cites(fmt.Sprintf("%s:%d", f.Path, 1+i), ids)...)
		} else {
			about = append(about, line)
		}
	}
	f.About = strings.TrimSpace(strings.Join(about, "\n"))
}

func cites(pos, ids string) (list []Cite) {
	for id := range strings.SplitSeq(ids, ",") {
		list = append(list, Cite{Pos: pos, ID: strings.TrimSpace(id)})
	}
	return list
}

// section reads one section, whose text begins at the given line of the file.
func (f *File) section(section txtar.File, first int) (err error) {
	switch section.Name {
	case "objects.yaml":
		f.YAML = section.Data
		if f.Objects, err = ParseObjects(section.Data); err != nil {
			return fmt.Errorf("%s:%d: %w", f.Path, first, err)
		}
		return nil
	case "connections", "errors":
		return f.lines(section, first)
	}
	return fmt.Errorf("%s:%d: unknown section %q; want objects.yaml, connections or errors", f.Path, first-1, section.Name)
}

func (f *File) lines(section txtar.File, first int) error {
	var waiting []Cite // for the next case line
	for i, line := range strings.Split(string(section.Data), "\n") {
		line = strings.TrimSpace(line)
		pos := fmt.Sprintf("%s:%d", f.Path, first+i)
		if ids, ok := strings.CutPrefix(line, "# cites:"); ok {
			waiting = append(waiting, cites(pos, ids)...)
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if err := f.line(section.Name, line, pos); err != nil {
			return fmt.Errorf("%s: %w", pos, err)
		}
		f.Cites, waiting = append(f.Cites, waiting...), nil
	}
	if waiting != nil {
		return fmt.Errorf("%s: no case line after the cites", waiting[0].Pos)
	}
	return nil
}

func (f *File) line(section, line, pos string) error {
	if section == "errors" {
		object, path, _ := strings.Cut(line, ": ")
		f.Faults = append(f.Faults, Fault{Pos: pos, Object: object, Path: path})
		return nil
	}
	c, err := parseConnection(line)
	c.Pos, c.Line = pos, line
	f.Connections = append(f.Connections, c)
	return err
}

// lineOf is the line number of a section's marker; txtar does not keep it.
func lineOf(data []byte, section string) int {
	for i, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "-- "+section+" --" {
			return i + 1
		}
	}
	return 0
}
