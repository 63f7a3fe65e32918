// SPDX-License-Identifier: Apache-2.0

// Package tree is the directory of files that the generator writes: how it is rendered, how it meets
// what people changed in it, and how it reaches the disk whole or not at all.
package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/yamlmerge"
)

// The files of every namespace, beside one for each workload.
const (
	KustomizationFile = "kustomization.yaml"
	BaselineFile      = "baseline.yaml"
	EvidenceFile      = "evidence.json"
)

// Files maps slash-separated paths, relative to a namespace's directory, to contents.
type Files map[string][]byte

// FileOf is the file of a workload's policy.
func FileOf(policy string) string { return policy + ".yaml" }

// Dir is where a namespace's files are in the repository.
func Dir(cluster, namespace string) string { return path.Join("clusters", cluster, namespace) }

// ValidCluster refuses a cluster name that could not be one path segment.
func ValidCluster(name string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return fmt.Errorf("cluster name %q: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

// Loss says how complete the input was.
type Loss struct {
	Flows     uint64 `json:"-"`         // that were read; some of them twice, if they were given twice
	Lost      uint64 `json:"lost"`      // flows that the observers lost
	Malformed uint64 `json:"malformed"` // lines that could not be read
	// Worst is the node that lost the largest part of its flows; zero: none did, or it is not known.
	Worst flows.NodeLoss `json:"-"`
}

// Share is the part of all flows that was not read, from 0 to 1.
func (l Loss) Share() float64 {
	missing := l.Lost + l.Malformed
	if missing == 0 {
		return 0
	}
	return float64(missing) / float64(missing+l.Flows)
}

// Record is evidence.json.
type Record struct {
	Version   int    `json:"version"`
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Input     Input  `json:"input"`
	// Files are the other files as they were generated, whatever people made of them since.
	Files  map[string]yamlmerge.Documents `json:"files"`
	Rules  []Rule                         `json:"rules"`
	Listed []evidence.Listed              `json:"listed"`
	// Foreign are policies that the cluster had beside those in Git; absent: none.
	Foreign []proof.Foreign `json:"foreign,omitempty"`
}

// Input says what the policies were made from.
type Input struct {
	Digest string    `json:"digest"` // of the edges
	First  time.Time `json:"first"`  // of the connections' flows
	Last   time.Time `json:"last"`
	Loss
}

// Rule is one connection that a rule of a file allows.
type Rule struct {
	File       string    `json:"file"`
	Path       string    `json:"path"` // of the list that the rule is in: its index changes with other rules
	Connection edge.Edge `json:"connection"`
}

const recordVersion = 2

// Render writes a namespace's files. The same input gives the same bytes.
func Render(cluster string, n *synth.Namespace, rules []proof.Rule, listed []evidence.Listed, foreign []proof.Foreign, loss Loss) (Files, error) {
	if err := ValidCluster(cluster); err != nil {
		return nil, err
	}
	docs := map[string]yamlmerge.Documents{}
	put := func(file string, policies ...*networkingv1.NetworkPolicy) (err error) {
		docs[file], err = yamlmerge.DocumentsOf(policies...)
		return err
	}
	if err := put(BaselineFile, n.Baseline...); err != nil {
		return nil, fmt.Errorf("write the baseline of namespace %s: %w", n.Name, err)
	}
	resources := []any{BaselineFile}
	for _, p := range n.Policies { // ordered by name
		if err := put(FileOf(p.Name), p); err != nil {
			return nil, fmt.Errorf("write NetworkPolicy %s/%s: %w", p.Namespace, p.Name, err)
		}
		resources = append(resources, FileOf(p.Name))
	}
	docs[KustomizationFile] = yamlmerge.Documents{map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"namespace":  n.Name,
		"resources":  resources,
	}}
	files, err := marshal(docs)
	if err != nil {
		return nil, fmt.Errorf("write files of namespace %s: %w", n.Name, err)
	}
	files[EvidenceFile], err = record(cluster, n, rules, listed, foreign, loss, docs)
	return files, err
}

// marshal writes documents on all cores: it is most of what one namespace takes.
func marshal(docs map[string]yamlmerge.Documents) (Files, error) {
	var (
		files = Files{}
		lock  sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for file, d := range docs {
		group.Go(func() error {
			text, err := d.Marshal()
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			lock.Lock()
			defer lock.Unlock()
			files[file] = text
			return nil
		})
	}
	return files, group.Wait()
}

// ruleText is a Rule as it is written.
type ruleText struct {
	File       string        `json:"file"`
	Path       string        `json:"path"`
	Connection edge.Document `json:"connection"`
}

func record(cluster string, n *synth.Namespace, rules []proof.Rule, listed []evidence.Listed, foreign []proof.Foreign, loss Loss, files map[string]yamlmerge.Documents) ([]byte, error) {
	texts := []ruleText{}
	for _, rule := range rules {
		list, _, _ := strings.Cut(rule.Path, "[")
		for i := range rule.Connections {
			c := &rule.Connections[i]
			texts = append(texts, ruleText{FileOf(rule.Policy), list, edge.DocumentOf(c.Key(), c.Evidence)})
		}
	}
	span := evidence.SpanOfConnections(n.Connections)
	r := struct { // what is the most of it is made into text once, and digested
		Record
		Rules  json.RawMessage `json:"rules"`
		Listed json.RawMessage `json:"listed"`
	}{Record: Record{
		Version: recordVersion, Cluster: cluster, Namespace: n.Name, Files: files, Foreign: foreign,
		Input: Input{First: span.First, Last: span.Last, Loss: loss},
	}}
	var err, listErr error
	r.Rules, err = json.Marshal(texts)
	r.Listed, listErr = json.Marshal(append([]evidence.Listed{}, listed...))
	if err := errors.Join(err, listErr); err != nil {
		return nil, fmt.Errorf("evidence of namespace %s: %w", n.Name, err)
	}
	sum := sha256.New()
	for _, part := range [][]byte{[]byte("["), r.Rules, []byte(","), r.Listed, []byte("]")} {
		sum.Write(part)
	}
	r.Input.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	content, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("evidence of namespace %s: %w", n.Name, err)
	}
	return spread(content), nil
}

// spread puts each member of a JSON object, and each of theirs, on a line of its own, so that what has not changed is
// not in a reviewer's way.
func spread(compact []byte) []byte {
	const levels = 2
	out := make([]byte, 0, len(compact)+len(compact)/16)
	depth, quoted, escaped, done := 0, false, false, 0 // of compact is in out
	through := func(end int) { out, done = append(out, compact[done:end]...), end }
	newline := func() {
		if depth <= levels {
			out = append(append(out, '\n'), "    "[:2*depth]...)
		}
	}
	for i, c := range compact {
		switch {
		case quoted:
			quoted, escaped = c != '"' || escaped, c == '\\' && !escaped
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			if depth++; compact[i+1] != c+2 { // empty: the closing bracket is two characters on in ASCII
				through(i + 1)
				newline()
			}
		case c == '}' || c == ']':
			empty := compact[i-1] == c-2
			if depth--; depth < levels && !empty {
				through(i)
				newline()
			}
		case c == ',' && depth <= levels:
			through(i + 1)
			newline()
		case c == ':' && depth <= levels:
			through(i + 1)
			out = append(out, ' ')
		}
	}
	through(len(compact))
	return append(out, '\n')
}

// ReadRecord reads evidence.json; nil when the files have none or it is of another version: then
// nothing is known of what was generated.
func ReadRecord(files Files) *Record {
	var r Record
	if json.Unmarshal(files[EvidenceFile], &r) != nil || r.Version != recordVersion {
		return nil
	}
	return &r
}
