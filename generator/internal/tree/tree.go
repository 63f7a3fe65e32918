// SPDX-License-Identifier: Apache-2.0

// Package tree is the directory of files that the generator writes: how it is rendered, how it meets
// what people changed in it, and how it reaches the disk whole or not at all.
package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

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
func (l Loss) Share() float64 { return flows.Share(l.Lost+l.Malformed, l.Flows) }

// Renderer writes the files of a cluster's namespaces. It is safe for concurrent use.
type Renderer struct {
	Cluster          string
	WithoutInventory bool // see Input
	Loss             Loss
	writer           yamlmerge.Writer
}

// Rendered is what is generated for a namespace.
type Rendered struct {
	Files Files
	// Documents are what the files say, but evidence.json: of each a JSON list of its documents, with keys in order.
	Documents map[string]json.RawMessage
}

// Render writes a namespace's files. The same input gives the same bytes.
func (r *Renderer) Render(n *synth.Namespace, rules []proof.Rule, listed []evidence.Listed, foreign []proof.Foreign) (*Rendered, error) {
	if err := ValidCluster(r.Cluster); err != nil {
		return nil, err
	}
	out := &Rendered{Files: Files{}, Documents: map[string]json.RawMessage{}}
	put := func(file string, policies ...*networkingv1.NetworkPolicy) (err error) {
		out.Files[file], out.Documents[file], err = r.writer.Policies(policies...)
		return err
	}
	if err := put(BaselineFile, n.Baseline...); err != nil {
		return nil, fmt.Errorf("write the baseline of namespace %s: %w", n.Name, err)
	}
	resources := []any{BaselineFile}
	for _, p := range n.Policies { // ordered by name
		if err := put(FileOf(p.Name), p); err != nil {
			return nil, fmt.Errorf("write policies of namespace %s: %w", n.Name, err)
		}
		resources = append(resources, FileOf(p.Name))
	}
	kustomization := yamlmerge.Documents{map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"namespace":  n.Name,
		"resources":  resources,
	}}
	var err, errJSON error
	out.Files[KustomizationFile], err = kustomization.Marshal()
	out.Documents[KustomizationFile], errJSON = json.Marshal(kustomization)
	if err := errors.Join(err, errJSON); err != nil {
		return nil, fmt.Errorf("write %s of namespace %s: %w", KustomizationFile, n.Name, err)
	}
	if out.Files[EvidenceFile], err = r.record(n, rules, listed, foreign, out.Documents); err != nil {
		return nil, fmt.Errorf("evidence of namespace %s: %w", n.Name, err)
	}
	return out, nil
}
