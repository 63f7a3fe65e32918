// SPDX-License-Identifier: Apache-2.0

// Package report is what a running agent says about itself, and how to ask it.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is the state of one node's enforcer at a moment.
type Report struct {
	Node  string `json:"node"`
	Ready bool   `json:"ready"`
	// Problems says what is missing to be ready; empty when ready.
	Problems []string `json:"problems,omitempty"`
	// Generation of the policies that packets are judged by; 0: none loaded by this agent yet.
	Generation uint32     `json:"generation"`
	LoadedAt   *time.Time `json:"loadedAt,omitempty"`
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

// CheckFormat errs unless format is one that Print knows.
func CheckFormat(format string) error {
	if !slices.Contains([]string{"table", "json"}, format) {
		return fmt.Errorf("--output %q is not one of table, json", format)
	}
	return nil
}

// Print writes the report as a table for people or as indented JSON.
func (r *Report) Print(w io.Writer, format string) error {
	if err := CheckFormat(format); err != nil {
		return err
	}
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.table(w)
}

func (r *Report) table(w io.Writer) error {
	state := "ready"
	if !r.Ready {
		state = "NOT READY"
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var errs []error
	row := func(format string, args ...any) {
		_, err := fmt.Fprintf(t, format, args...)
		errs = append(errs, err)
	}
	row("node:\t%s (%s)\n", r.Node, state)
	row("generation:\t%d\n", r.Generation)
	row("policy sets:\t%d\n", r.Sets)
	row("flows:\t%d seen, %d lost, %d overwritten\n", r.Flows.Seen, r.Flows.Lost, r.Flows.Overwritten)
	for _, p := range r.Problems {
		row("problem:\t%s\n", p)
	}
	for _, p := range r.PolicyErrors {
		row("policy error:\t%s\n", p)
	}
	errs = append(errs, t.Flush())
	row("\nNAMESPACE\tPOD\tMODE\tSET\tINTERFACE\tATTACHED\n")
	for _, e := range r.Endpoints {
		row("%s\t%s\t%s\t%d\t%d\t%t\n", e.Namespace, e.Pod, e.Mode, e.Set, e.Ifindex, e.Attached)
	}
	return errors.Join(append(errs, t.Flush())...)
}
