// SPDX-License-Identifier: Apache-2.0

// Package report is what a running agent says about itself, and how to ask it.
package report

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Report is the state of one node's enforcer at a moment.
type Report struct {
	Node  string `json:"node"`
	Ready bool   `json:"ready"`
	// Problems says what is missing to be ready; empty when ready.
	Problems []string `json:"problems,omitempty"`
	// Generation of the policies that packets are judged by; 0: none loaded by this agent yet.
	Generation uint32 `json:"generation"`
	// LoadedAt is since when it is enforced.
	LoadedAt *time.Time `json:"loadedAt,omitempty"`
	// PendingSince is when the first object change came that is not enforced yet; nil: all are.
	PendingSince *time.Time `json:"pendingSince,omitempty"`
	// UpdatedAt is when everything was last as the API server says; nil: not yet.
	UpdatedAt *time.Time `json:"updatedAt,omitempty"`
	// SelfTest is the last one of this agent; nil: none has ended yet.
	SelfTest *SelfTest `json:"selfTest,omitempty"`
	// Maps of the datapath; nil: they could not be read.
	Maps []Map `json:"maps,omitempty"`
	// Sets counts the different policy sets of the node's pods.
	Sets int `json:"sets"`
	// PolicyErrors are faults of policies; what they concern matches nothing.
	PolicyErrors []string   `json:"policyErrors,omitempty"`
	Endpoints    []Endpoint `json:"endpoints"`
	Flows        Flows      `json:"flows"`
}

// Endpoint is a pod's interface.
type Endpoint struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Ifindex   uint32 `json:"ifindex"`
	Mode      string `json:"mode"` // audit or enforce
	Set       uint32 `json:"set"`
	Attached  bool   `json:"attached"`
}

// Flows counts records.
type Flows struct {
	Seen        uint64 `json:"seen"`
	Lost        uint64 `json:"lost"`        // in the kernel, for want of room
	Overwritten uint64 `json:"overwritten"` // in the agent, by newer ones
}

// SelfTest is what came of sending packets through the datapath that it must drop.
type SelfTest struct {
	At      time.Time `json:"at"`
	Passed  bool      `json:"passed"`
	Problem string    `json:"problem,omitempty"` // which hook let what pass; empty when passed
}

// Map says how full one is.
type Map struct {
	Name     string `json:"name"`
	Entries  uint64 `json:"entries"`
	Capacity uint64 `json:"capacity"`
}

// Fetch asks the agent whose HTTP address is addr (host:port; an empty host means this machine).
func Fetch(ctx context.Context, addr string) (*Report, error) {
	answer, err := Ask(ctx, addr, "/status", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var r Report
	if err := json.NewDecoder(answer).Decode(&r); err != nil {
		return nil, fmt.Errorf("read the enforcer's answer: %w", err)
	}
	return &r, nil
}
