// SPDX-License-Identifier: Apache-2.0

package simulation_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/test/simulation"
)

// TestOrder: the order of the flows and spreading them over files changes no byte of what is written; reading some twice
// changes no policy.
func TestOrder(t *testing.T) {
	trace := simulate(t, "spread", simulation.Options{Seed: 17, Rollouts: 1})
	var out bytes.Buffer
	if err := trace.WriteFlows(&out, simulation.Form{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSpace(out.String())+"\n", "\n")
	inventory := filepath.Join(t.TempDir(), "inventory")
	if err := trace.WriteInventory(inventory); err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]string{{"--inventory", inventory}, nil} { // nil: it is learned
		reorder(t, from, lines)
	}
}

func reorder(t *testing.T, inventory []string, lines []string) {
	t.Helper()
	want := written(t, inventory, [][]string{lines})
	if len(want) < 20 {
		t.Fatalf("%d files, want at least 20", len(want))
	}
	r := rand.New(rand.NewPCG(17, 17))
	for range 3 {
		r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		cut := 1 + r.IntN(len(lines)-2)
		same(t, "in another order", written(t, inventory, [][]string{lines[:cut], lines[cut:]}), want)
		twice := written(t, inventory, [][]string{lines[:cut], lines[cut/2:], lines[:10]})
		for name := range want {
			if filepath.Base(name) == "evidence.json" { // it counts the lines
				twice[name] = want[name]
			}
		}
		same(t, "with duplicates", twice, want)
	}
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s %s differs:\n%s\nwant:\n%s", what, name, got[name], want[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s %d files, want %d", what, len(got), len(want))
	}
}

// written is what the generator makes of flows in several gzipped files: the content of each file by its name.
func written(t *testing.T, inventory []string, shards [][]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(bulkhead, append([]string{"generate", "--cluster", "test", "--out", dir}, inventory...)...)
	for i, lines := range shards {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		for _, line := range lines {
			z.Write([]byte(line))
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.jsonl.gz", i))
		if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, "--flows", file)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "clusters/test/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(n, dir)] = string(data)
	}
	return files
}
