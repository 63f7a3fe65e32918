// SPDX-License-Identifier: Apache-2.0

// Package plan reads what people decided about observed connections: which to allow though they look odd, and which
// not to allow though they look harmless. The plan of a namespace is a file beside its policies, kept in Git like them.
package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
)

// File is the plan's name in a namespace's directory.
const File = "plan.yaml"

const (
	apiVersion = "bulkhead.dev/v1alpha1"
	kind       = "Plan"

	maxBytes     = 1 << 20
	maxDecisions = 10_000
)

// Plan is an ordered list of decisions. The first that speaks of a connection counts. The zero Plan decides nothing.
type Plan struct {
	Decisions []Decision
}

// Decision accepts or rejects the connections that it speaks of.
type Decision struct {
	Accept bool
	Reason string // never empty
	from   ends
	to     ends
	ports  []ports // empty: all
	text   string
}

// String is the decision in one phrase.
func (d *Decision) String() string { return d.text }

// ends are the ends of connections that a decision speaks of.
type ends struct {
	kind, namespace, name string // kind empty: any; name *: all of the namespace
	block                 netip.Prefix
	world                 bool // every address
}

type ports struct {
	protocol corev1.Protocol
	from, to uint16
}

// document is the file as people write it.
type document struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Decisions  []decisionText `json:"decisions"`
}

type decisionText struct {
	Accept *pattern `json:"accept,omitempty"`
	Reject *pattern `json:"reject,omitempty"`
	Reason string   `json:"reason"`
}

type pattern struct {
	From  string   `json:"from"`
	To    string   `json:"to"`
	Ports []string `json:"ports,omitempty"`
}

// Parse reads a plan. The error names each decision and field that is wrong, and what to write instead.
func Parse(content []byte) (*Plan, error) {
	if len(content) > maxBytes {
		return nil, fmt.Errorf("%d bytes; at most %d are read", len(content), maxBytes)
	}
	var doc document
	if err := yaml.UnmarshalStrict(content, &doc); err != nil {
		return nil, err
	}
	if doc.APIVersion != apiVersion || doc.Kind != kind {
		return nil, fmt.Errorf("apiVersion %q, kind %q: write apiVersion: %s and kind: %s", doc.APIVersion, doc.Kind, apiVersion, kind)
	}
	if len(doc.Decisions) > maxDecisions {
		return nil, fmt.Errorf("%d decisions; at most %d are read", len(doc.Decisions), maxDecisions)
	}
	p := &Plan{}
	var faults []error
	for i, text := range doc.Decisions {
		d, err := text.parse()
		if err != nil {
			faults = append(faults, fmt.Errorf("decisions[%d]%w", i, err))
			continue
		}
		p.Decisions = append(p.Decisions, *d)
	}
	return p, errors.Join(faults...)
}

func (t decisionText) parse() (*Decision, error) {
	d := &Decision{Accept: t.Accept != nil, Reason: strings.TrimSpace(t.Reason)}
	said, verb := t.Accept, "accept"
	if !d.Accept {
		said, verb = t.Reject, "reject"
	}
	if (t.Accept == nil) == (t.Reject == nil) {
		return nil, errors.New(": give either accept or reject, with from and to")
	}
	if d.Reason == "" {
		return nil, errors.New(".reason: say why, for whoever reads the plan in a year")
	}
	var err error
	if d.from, err = parseEnds(said.From); err != nil {
		return nil, fmt.Errorf(".%s.from %q: %w", verb, said.From, err)
	}
	if d.to, err = parseEnds(said.To); err != nil {
		return nil, fmt.Errorf(".%s.to %q: %w", verb, said.To, err)
	}
	for i, text := range said.Ports {
		p, err := parsePorts(text)
		if err != nil {
			return nil, fmt.Errorf(".%s.ports[%d] %q: %w", verb, i, text, err)
		}
		d.ports = append(d.ports, p)
	}
	d.text = fmt.Sprintf("%s %s → %s %s", verb, said.From, said.To, strings.Join(said.Ports, " "))
	d.text = strings.TrimSpace(d.text)
	return d, nil
}

var errEnds = errors.New("write a workload such as Deployment shop/api, shop/api or shop/*, an address or a CIDR, or world")

func parseEnds(text string) (ends, error) {
	if text == "world" {
		return ends{world: true}, nil
	}
	if block, err := netip.ParsePrefix(text); err == nil {
		if block != block.Masked() {
			return ends{}, fmt.Errorf("%s is meant, or another range? Bits behind the prefix are set", block.Masked())
		}
		return ends{block: block}, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return ends{block: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	kind, name, found := strings.Cut(text, " ")
	if !found {
		kind, name = "", text
	}
	namespace, name, found := strings.Cut(name, "/")
	if !found || namespace == "" || name == "" || namespace == "*" || strings.ContainsAny(name, "/ ") || text[0] == ' ' {
		return ends{}, errEnds
	}
	return ends{kind: kind, namespace: namespace, name: name}, nil
}

func parsePorts(text string) (ports, error) {
	bad := errors.New("write a protocol and a port or a range, such as TCP/443 or UDP/8000-8010")
	protocol, numbers, found := strings.Cut(text, "/")
	p := ports{protocol: corev1.Protocol(protocol)}
	if !found || !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, p.protocol) {
		return p, bad
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	var err error
	if p.from, err = parsePort(first); err == nil {
		p.to, err = parsePort(last)
	}
	if err != nil || p.to < p.from {
		return p, bad
	}
	return p, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err == nil && n == 0 {
		err = errors.New("there is no port 0")
	}
	return uint16(n), err
}

// Decide returns the decision about a connection; nil: the plan has none.
func (p *Plan) Decide(from, to edge.Endpoint, protocol corev1.Protocol, port uint16) *Decision {
	if p == nil {
		return nil
	}
	for i := range p.Decisions {
		if d := &p.Decisions[i]; d.from.has(from) && d.to.has(to) && d.hasPort(protocol, port) {
			return d
		}
	}
	return nil
}

func (e ends) has(o edge.Endpoint) bool {
	if !o.IsPod() {
		return e.world || e.block.IsValid() && e.block.Contains(o.Addr)
	}
	return !e.world && e.namespace == o.Namespace && (e.name == "*" || e.name == o.Name) && (e.kind == "" || e.kind == o.Kind)
}

func (d *Decision) hasPort(protocol corev1.Protocol, port uint16) bool {
	return len(d.ports) == 0 || slices.ContainsFunc(d.ports, func(p ports) bool {
		return p.protocol == protocol && p.from <= port && port <= p.to
	})
}

// Block is what an accepted address stands for: the range that the decision names. Everything, for world.
func (d *Decision) Block(addr netip.Addr) netip.Prefix {
	for _, e := range []ends{d.from, d.to} {
		switch {
		case e.world:
			return netip.PrefixFrom(addr, 0).Masked()
		case e.block.IsValid() && e.block.Contains(addr):
			return e.block
		}
	}
	return netip.PrefixFrom(addr, addr.BitLen())
}
