// SPDX-License-Identifier: Apache-2.0

// Package page writes what is known of namespaces as HTML: one self-contained page each, that a person reads before
// its policies are enforced, and an overview.
//
// Every name comes from flows and manifests that nobody has checked. All of them pass through html/template, and a
// policy in the page's head allows its own style and script by their hashes and nothing else. Pages are complete without
// the script; it filters, sorts and copies. The same proposal gives the same bytes, and what is long is cut and counted.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// IndexFile is the overview's name.
const IndexFile = "index.html"

var (
	//go:embed style.css
	style string
	//go:embed script.js
	script string
	//go:embed page.html.tmpl
	text string

	pages = template.Must(template.New("page").Parse(text))
)

// File is the name of a namespace's page. No name of a namespace has a dot, so that none is the overview's.
func File(namespace string) string {
	if namespace+".html" == IndexFile {
		return "index.namespace.html"
	}
	return namespace + ".html"
}

// Pages are the overview and one page for each namespace of the proposal. stats are those of its flows. The error
// says that a page could not be rendered, which no input does.
func Pages(p *proposal.Proposal, stats *flows.Stats) (tree.Files, error) {
	files, input := tree.Files{}, inputOf(p, stats)
	overview := index{frame: frameOf("Namespaces of cluster "+printable(p.Cluster), p.Cluster), Input: input, Silent: []line{}}
	for _, n := range p.Namespaces {
		v := view(p.Cluster, n, input)
		if err := render(files, File(n.Name), "namespace", v); err != nil {
			return nil, err
		}
		overview.Namespaces = append(overview.Namespaces, entry{File(n.Name), v.Name, v.Ready, v.Summary, v.Numbers})
	}
	for _, n := range p.Silent {
		overview.Silent = append(overview.Silent, line(n.Name))
	}
	overview.Elsewhere = cut(p.Elsewhere, listedRow)
	return files, render(files, IndexFile, "index", overview)
}

func render(files tree.Files, name, part string, data any) error {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, part, data); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	files[name] = out.Bytes()
	return nil
}

// frame is what every page has.
type frame struct {
	Title, Cluster string
	Style          template.CSS
	Script         template.JS
	Policy         string // of the content's security
}

func frameOf(title, cluster string) frame {
	return frame{
		Title: title, Cluster: printable(cluster), Style: template.CSS(style), Script: template.JS(script),
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", digest(style), digest(script)),
	}
}

// digest is how a policy names a style or a script.
func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// index is the overview.
type index struct {
	frame
	Namespaces []entry
	Silent     []line
	Elsewhere  table[row]
	Input      input
}

// entry is a namespace in the overview.
type entry struct {
	File, Name string
	Ready      bool
	Summary    line
	Numbers    numbers
}
