// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// Document is an edge as it is written for people and programs. It is written without a second look at the text, which
// what an Edge writes itself is given.
type Document struct {
	From      endDocument     `json:"from"`
	To        endDocument     `json:"to"`
	Protocol  corev1.Protocol `json:"protocol"`
	Port      uint16          `json:"port"`
	Side      flows.Side      `json:"side,omitempty"`
	Verdict   flows.Verdict   `json:"verdict,omitempty"`
	Flows     uint64          `json:"flows"`
	Estimated bool            `json:"estimated,omitempty"`
	First     time.Time       `json:"first"`
	Last      time.Time       `json:"last"`
	Nodes     Set             `json:"nodes,omitempty"`
	Names     Set             `json:"names,omitempty"`
}

type endDocument struct {
	Kind      string     `json:"kind,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name,omitempty"`
	Address   netip.Addr `json:"address,omitzero"`
	Entity    string     `json:"entity,omitempty"`
}

// MarshalJSON writes the edge with its count; the sketch behind the count stays out.
func (e Edge) MarshalJSON() ([]byte, error) {
	return json.Marshal(DocumentOf(e.Key, &e.Evidence))
}

// DocumentOf is the edge with its count; the sketch behind the count stays out.
func DocumentOf(k Key, e *Evidence) Document {
	n, estimated := e.Flows.Value()
	return Document{
		From: endOf(k.From), To: endOf(k.To), Protocol: k.Protocol, Port: k.Port, Side: k.Side, Verdict: k.Verdict,
		Flows: n, Estimated: estimated, First: e.First, Last: e.Last, Nodes: e.Nodes, Names: e.Names,
	}
}

// UnmarshalJSON reads what MarshalJSON wrote. The sketch of the count is not in it: what is counted beside it later may
// be the same flows, and is not added.
func (e *Edge) UnmarshalJSON(data []byte) error {
	var d Document
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	*e = Edge{
		Key:      Key{From: d.From.endpoint(), To: d.To.endpoint(), Protocol: d.Protocol, Port: d.Port, Side: d.Side, Verdict: d.Verdict},
		Evidence: Evidence{First: d.First, Last: d.Last, Nodes: d.Nodes, Names: d.Names},
	}
	e.Flows.tell(d.Flows, d.Estimated)
	return nil
}

// CountOf is a Count without its sketch: what is counted beside it later may be the same flows, and is not added.
func CountOf(n uint64, estimated bool) (c Count) {
	c.tell(n, estimated)
	return c
}

func (e endDocument) endpoint() Endpoint {
	return Endpoint{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name, Addr: e.Address, Entity: e.Entity}
}

func endOf(e Endpoint) endDocument {
	return endDocument{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name, Address: e.Addr, Entity: e.Entity}
}
