// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
)

// document is an edge as it is written for people and programs.
type document struct {
	From      end             `json:"from"`
	To        end             `json:"to"`
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

type end struct {
	Kind      string     `json:"kind,omitempty"`
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name,omitempty"`
	Address   netip.Addr `json:"address,omitzero"`
	Entity    string     `json:"entity,omitempty"`
}

// MarshalJSON writes the edge with its count; the sketch behind the count stays out.
func (e Edge) MarshalJSON() ([]byte, error) {
	n, estimated := e.Flows.Value()
	return json.Marshal(document{
		From: endOf(e.From), To: endOf(e.To), Protocol: e.Protocol, Port: e.Port, Side: e.Side, Verdict: e.Verdict,
		Flows: n, Estimated: estimated, First: e.First, Last: e.Last, Nodes: e.Nodes, Names: e.Names,
	})
}

// UnmarshalJSON reads what MarshalJSON wrote, but for the count: its sketch was not written.
func (e *Edge) UnmarshalJSON(data []byte) error {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	*e = Edge{
		Key:   Key{From: d.From.endpoint(), To: d.To.endpoint(), Protocol: d.Protocol, Port: d.Port, Side: d.Side, Verdict: d.Verdict},
		First: d.First, Last: d.Last, Nodes: d.Nodes, Names: d.Names,
	}
	return nil
}

func (e end) endpoint() Endpoint {
	return Endpoint{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name, Addr: e.Address, Entity: e.Entity}
}

func endOf(e Endpoint) end {
	return end{Kind: e.Kind, Namespace: e.Namespace, Name: e.Name, Address: e.Addr, Entity: e.Entity}
}

// state is a Fold at rest, sketches included.
type state struct {
	Version int     `json:"version"`
	Edges   []saved `json:"edges"`
}

type saved struct {
	Key         Key
	Hashes      []uint64 `json:",omitempty"`
	Ranks       []byte   `json:",omitempty"`
	First, Last time.Time
	Nodes       Set
	Names       Set
}

const stateVersion = 2

// MarshalJSON writes all that UnmarshalJSON needs to go on folding where this Fold stopped.
func (f *Fold) MarshalJSON() ([]byte, error) {
	s := state{Version: stateVersion}
	for _, e := range f.Edges() {
		s.Edges = append(s.Edges, saved{e.Key, e.Flows.hashes, e.Flows.registers(), e.First, e.Last, e.Nodes, e.Names})
	}
	return json.Marshal(s)
}

// UnmarshalJSON merges a saved Fold into this one.
func (f *Fold) UnmarshalJSON(data []byte) error {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if s.Version != stateVersion {
		return fmt.Errorf("saved edges have version %d; this program reads version %d", s.Version, stateVersion)
	}
	for _, in := range s.Edges {
		other := Edge{Key: in.Key, First: in.First, Last: in.Last, Nodes: in.Nodes, Names: in.Names}
		if err := other.Flows.restore(in.Hashes, in.Ranks); err != nil {
			return err
		}
		if err := f.Put(in.Key, &other); err != nil {
			return err
		}
	}
	return nil
}
