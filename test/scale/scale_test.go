// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

// TestLines: flows are as Hubble prints them, by the protobuf library's reading, and no two are the same.
func TestLines(t *testing.T) {
	var out bytes.Buffer
	const flows = 2000
	if err := newStream().write(&out, flows); err != nil {
		t.Fatal(err)
	}
	ids, ends := map[string]bool{}, map[bool]int{}
	for line := range bytes.Lines(out.Bytes()) {
		var r observer.GetFlowsResponse
		if err := protojson.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v:\n%s", err, line)
		}
		f := r.GetFlow()
		ids[f.GetUuid()] = true
		ends[f.GetDestination().GetPodName() != "" && f.GetSource().GetPodName() != ""]++
		if f.GetTime() == nil || f.GetIP().GetSource() == "" || f.GetL4().GetTCP().GetDestinationPort() == 0 || f.GetNodeName() != r.GetNodeName() {
			t.Fatalf("something is missing:\n%s", line)
		}
	}
	if len(ids) != flows || ends[true] < 8*ends[false] || ends[false] == 0 {
		t.Errorf("%d different flows, between pods or not: %v", len(ids), ends)
	}
}

func TestConnections(t *testing.T) {
	all, world := connections(), 0
	different := map[connection]bool{}
	for _, c := range all {
		if c.addr != 0 {
			world++
		}
		c.ingress = false
		different[c] = true
	}
	if len(all) != namespaces*workloads*opens || len(different) != len(all) || world != namespaces*workloads*outside {
		t.Errorf("%d connections, %d different, %d to the outside", len(all), len(different), world)
	}
}

func TestInventory(t *testing.T) {
	dir := t.TempDir()
	if err := writeInventory(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "all.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kinds, addrs := map[string]int{}, map[string]bool{}
	for _, doc := range bytes.Split(text, []byte("---\n"))[1:] {
		var o struct {
			Kind   string
			Status struct{ PodIP string }
		}
		if err := yaml.UnmarshalStrict(doc, &map[string]any{}); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatal(err)
		}
		kinds[o.Kind]++
		addrs[o.Status.PodIP] = true
	}
	if kinds["Pod"] != 5000 || kinds["Deployment"] != 1000 || kinds["Namespace"] != 50 || kinds["Node"] != nodes || len(addrs) != 5001 {
		t.Errorf("%v, %d addresses", kinds, len(addrs))
	}
}
