// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/synth"
	"github.com/bulkhead-dev/bulkhead/generator/internal/yamlmerge"
)

// Record is what is read of evidence.json. It has the other files as they were generated, too, whatever people made of
// them since, what was listed, and policies that the cluster had beside those in Git, if any.
type Record struct {
	recordHead
	Rules []Rule `json:"rules"`
}

// recordHead are the members that are not lists, and come first.
type recordHead struct {
	Version   int    `json:"version"`
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace"`
	Input     Input  `json:"input"`
}

// Input says what the policies were made from.
type Input struct {
	Digest string    `json:"digest"` // of the edges
	First  time.Time `json:"first"`  // of the connections' flows
	Last   time.Time `json:"last"`
	// WithoutInventory: which workloads there are, and how their pods are selected, was learned from the flows alone.
	WithoutInventory bool `json:"withoutInventory,omitempty"`
	Loss
}

// Rule is one connection that a rule of a file allows.
type Rule struct {
	File       string    `json:"file"`
	Path       string    `json:"path"` // of the list that the rule is in: its index changes with other rules
	Connection edge.Edge `json:"connection"`
}

const recordVersion = 2

// ruleText is a Rule as it is written.
type ruleText struct {
	File       string        `json:"file"`
	Path       string        `json:"path"`
	Connection edge.Document `json:"connection"`
}

// record writes evidence.json: each member of the object, and each of theirs, is on a line of its own, so that what has
// not changed is not in a reviewer's way. The lists are most of it, and are never in memory in another form.
func (r *Renderer) record(n *synth.Namespace, rules []proof.Rule, listed []evidence.Listed, foreign []proof.Foreign, files map[string]json.RawMessage) ([]byte, error) {
	span := evidence.SpanOfConnections(n.Connections)
	head, err := json.MarshalIndent(recordHead{
		recordVersion, r.Cluster, n.Name,
		Input{digestPrefix + strings.Repeat("0", hex.EncodedLen(sha256.Size)), span.First, span.Last, r.WithoutInventory, r.Loss},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	out, sum := &bytes.Buffer{}, sha256.New()
	out.Grow(sizeOf(rules, files))
	out.Write(bytes.TrimSuffix(head, []byte("\n}")))
	if err := addFiles(out, files); err != nil {
		return nil, err
	}
	if len(foreign) > 0 {
		err = addList(out, io.Discard, "foreign", slices.Values(foreign))
	}
	sum.Write([]byte("["))
	errRules := addList(out, sum, "rules", ruleTexts(rules))
	sum.Write([]byte(","))
	errListed := addList(out, sum, "listed", slices.Values(listed))
	sum.Write([]byte("]"))
	out.WriteString("\n}\n")
	hex.Encode(out.Bytes()[bytes.LastIndex(head, []byte(digestPrefix))+len(digestPrefix):], sum.Sum(nil))
	return out.Bytes(), errors.Join(err, errRules, errListed)
}

// digestPrefix begins Input.Digest. Behind that are times, numbers and a truth.
const digestPrefix = "sha256:"

// sizeOf guesses the size of evidence.json, so that it is not copied as it grows.
func sizeOf(rules []proof.Rule, files map[string]json.RawMessage) int {
	const head, perRule = 4096, 512
	size := head
	for _, text := range files {
		size += len(text)
	}
	for i := range rules {
		size += perRule * len(rules[i].Connections)
	}
	return size
}

func ruleTexts(rules []proof.Rule) iter.Seq[ruleText] {
	return func(yield func(ruleText) bool) {
		for _, rule := range rules {
			list, _, _ := strings.Cut(rule.Path, "[")
			for i := range rule.Connections {
				c := &rule.Connections[i]
				if !yield(ruleText{FileOf(rule.Policy), list, edge.DocumentOf(c.Key(), c.Evidence)}) {
					return
				}
			}
		}
	}
}

// addList adds a member that is a list, and writes the list alone, without white space, to compact.
func addList[T any](out *bytes.Buffer, compact io.Writer, name string, items iter.Seq[T]) error {
	fmt.Fprintf(out, ",\n  %q: [", name)
	compact.Write([]byte("["))
	encoder, first := json.NewEncoder(out), true
	for item := range items {
		if !first {
			out.WriteByte(',')
			compact.Write([]byte(","))
		}
		first = false
		out.WriteString("\n    ")
		at := out.Len()
		if err := encoder.Encode(&item); err != nil {
			return err
		}
		out.Truncate(out.Len() - 1) // the encoder ends the line
		compact.Write(out.Bytes()[at:])
	}
	compact.Write([]byte("]"))
	if !first {
		out.WriteString("\n  ")
	}
	out.WriteByte(']')
	return nil
}

func addFiles(out *bytes.Buffer, files map[string]json.RawMessage) error {
	separator := ",\n  \"files\": {"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		quoted, err := json.Marshal(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n    %s: %s", separator, quoted, files[name])
		separator = ","
	}
	out.WriteString("\n  }")
	return nil
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

// earlier are the files as they were generated last, each a list of its documents, by evidence.json; nil: nothing is
// known of that.
type earlier map[string]json.RawMessage

func earlierIn(files Files) earlier {
	var r struct {
		Version int     `json:"version"`
		Files   earlier `json:"files"`
	}
	if json.Unmarshal(files[EvidenceFile], &r) != nil || r.Version != recordVersion {
		return nil
	}
	return r.Files
}

// documents of a file; nil: it was not generated, or nobody knows.
func (e earlier) documents(name string) yamlmerge.Documents {
	var d yamlmerge.Documents
	if json.Unmarshal(e[name], &d) != nil {
		return nil
	}
	return d
}
