// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows/flowstest"
)

// TestLabels: the labels of a pod whose workload is named are read when they are asked for, from files and observers; equal
// ones are one list.
func TestLabels(t *testing.T) {
	response := flowstest.Flow("a")
	labels := []string{"k8s:app=web", "k8s:tier=front"}
	response.GetFlow().Source.Labels = labels
	text, err := protojson.Marshal(response)
	if err != nil {
		t.Fatal(err)
	}
	addr := flowstest.Serve(t, response, response)
	for _, tt := range []struct {
		options []flows.Option
		want    []string
	}{{nil, nil}, {[]flows.Option{flows.WithLabels()}, labels}} {
		var got [][]string
		each := func(r *flows.Record) error {
			if r.Source.Workload == "" {
				return fmt.Errorf("no workload in %+v", r.Source)
			}
			got = append(got, r.Source.Labels)
			return nil
		}
		dialer := flows.Dialer{Options: tt.options}
		if err := dialer.Observe(t.Context(), addr, flows.Query{}, &flows.Stats{}, each); err != nil {
			t.Fatal(err)
		}
		if _, err := flows.Read(strings.NewReader(strings.Repeat(string(text)+"\n", 2)), "f", 0, each, tt.options...); err != nil {
			t.Fatal(err)
		}
		for i, list := range got {
			if len(got) != 4 || !slices.Equal(list, tt.want) || tt.want != nil && &list[0] != &got[i/2*2][0] {
				t.Errorf("with %d options: %q", len(tt.options), got)
			}
		}
	}
}
