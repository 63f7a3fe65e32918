// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// generated are files as Render writes them, from the golden directory.
func generated(t *testing.T) tree.Files {
	t.Helper()
	files, err := tree.ReadDir("../proposal/testdata/three-tier/want/shop")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	delete(files, "pull-request.md")
	return files
}

func merge(t *testing.T, existing, generated tree.Files) *tree.Merged {
	t.Helper()
	m, err := tree.Merge(existing, generated)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func same(a, b tree.Files) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func TestMergeIntoNothing(t *testing.T) {
	g := generated(t)
	if m := merge(t, nil, g); !m.Changed || !same(m.Files, g) {
		t.Errorf("changed %v", m.Changed)
	}
}

func TestMergeKeepsCommentsAndStyle(t *testing.T) {
	g, existing := generated(t), generated(t)
	existing["api.yaml"] = append([]byte("# Reviewed by Kim: talks to the bank.\n"), bytes.ReplaceAll(g["api.yaml"], []byte("protocol: TCP"), []byte("protocol: 'TCP'"))...)
	g[tree.EvidenceFile] = bytes.ReplaceAll(g[tree.EvidenceFile], []byte(`"lost":5`), []byte(`"lost":9`))
	m := merge(t, existing, g)
	if m.Changed || !same(m.Files, existing) {
		t.Error("a comment, style and newer evidence are no reason for a change")
	}
}

func TestMergeReplacesWhatNobodyTouched(t *testing.T) {
	g, existing := generated(t), generated(t)
	g["api.yaml"] = bytes.ReplaceAll(g["api.yaml"], []byte("3000"), []byte("3001"))
	m := merge(t, existing, g)
	if !m.Changed || !bytes.Equal(m.Files["api.yaml"], g["api.yaml"]) || len(m.Kept) != 0 {
		t.Errorf("changed %v, kept %v", m.Changed, m.Kept)
	}
}

func TestMergeKeepsAPersonsEdit(t *testing.T) {
	g, existing := generated(t), generated(t)
	existing["api.yaml"] = bytes.ReplaceAll(existing["api.yaml"], []byte("203.0.113.7/32"), []byte("203.0.113.0/28"))
	existing["extra.yaml"] = []byte("# a person's own policy\n")
	existing[tree.KustomizationFile] = append(existing[tree.KustomizationFile], "- extra.yaml\ncommonAnnotations: {team: shop}\n"...)
	g["frontend.yaml"] = bytes.ReplaceAll(g["frontend.yaml"], []byte("8080"), []byte("8081"))
	m := merge(t, existing, g)
	kept := []string{"api.yaml: spec.egress[1].to[0]", "kustomization.yaml: commonAnnotations", "kustomization.yaml: resources[5]"}
	if !m.Changed || !slices.Equal(m.Kept, kept) {
		t.Errorf("changed %v, kept %q", m.Changed, m.Kept)
	}
	for _, name := range []string{"api.yaml", "extra.yaml", tree.KustomizationFile} {
		if !bytes.Equal(m.Files[name], existing[name]) {
			t.Errorf("%s did not survive:\n%s", name, m.Files[name])
		}
	}
	// And again: what was kept once is kept the next time.
	if again := merge(t, m.Files, g); again.Changed || !slices.Equal(again.Kept, kept) {
		t.Errorf("the second time: changed %v, kept %v", again.Changed, again.Kept)
	}
}

func TestMergeRemovesWhatIsNotNeeded(t *testing.T) {
	existing, g := generated(t), generated(t)
	delete(g, "report.yaml")
	g[tree.KustomizationFile] = bytes.ReplaceAll(g[tree.KustomizationFile], []byte("- report.yaml\n"), nil)
	m := merge(t, existing, g)
	if _, there := m.Files["report.yaml"]; there || !m.Changed || bytes.Contains(m.Files[tree.KustomizationFile], []byte("report")) {
		t.Errorf("report.yaml is still there: %s", m.Files[tree.KustomizationFile])
	}
	existing["report.yaml"] = bytes.ReplaceAll(existing["report.yaml"], []byte("5432"), []byte("5433"))
	if m := merge(t, existing, g); m.Files["report.yaml"] == nil {
		t.Error("a file that a person edited was removed")
	}
}

func TestMergeRespectsADeletion(t *testing.T) {
	existing, g := generated(t), generated(t)
	delete(existing, "report.yaml")
	existing[tree.KustomizationFile] = bytes.ReplaceAll(existing[tree.KustomizationFile], []byte("- report.yaml\n"), nil)
	m := merge(t, existing, g)
	if m.Changed || len(m.Absent) != 1 {
		t.Errorf("changed %v, absent %v; want the deletion respected", m.Changed, m.Absent)
	}
	g["report.yaml"] = bytes.ReplaceAll(g["report.yaml"], []byte("5432"), []byte("5433"))
	if m := merge(t, existing, g); !m.Changed || m.Files["report.yaml"] == nil {
		t.Error("what is new about a deleted file is not proposed")
	}
}

func TestMergeNamesABrokenFile(t *testing.T) {
	existing := generated(t)
	existing["api.yaml"] = []byte("a: [\n")
	if _, err := tree.Merge(existing, generated(t)); err == nil || !strings.Contains(err.Error(), "api.yaml") {
		t.Errorf("got %v, want an error that names api.yaml", err)
	}
}

// TestWriteAllOrNothing makes the second of two directories impossible to write.
func TestWriteAllOrNothing(t *testing.T) {
	root := t.TempDir()
	before := map[string]tree.Files{"clusters/c/a": {"x.yaml": []byte("old")}}
	if err := write(root, before); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "clusters", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 10 { // maps are walked in any order
		err := write(root, map[string]tree.Files{
			"clusters/c/a":    {"x.yaml": []byte("new"), "y.yaml": []byte("new")},
			"clusters/file/b": {"x.yaml": []byte("new")}, // below a file
		})
		if err == nil {
			t.Fatal("a directory below a file was written")
		}
		if got, _ := tree.ReadDir(filepath.Join(root, "clusters/c/a")); !same(got, before["clusters/c/a"]) {
			t.Fatalf("half of it was written: %q", got)
		}
	}
	if err := write(root, map[string]tree.Files{"a": {"../../evil": nil}}); err == nil {
		t.Error("a file name left its directory")
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 1 {
		t.Errorf("something is left behind: %v, %v", entries, err)
	}
}

// write replaces directories below root.
func write(root string, dirs map[string]tree.Files) (err error) {
	s, err := tree.Stage(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for dir, files := range dirs {
		if err := s.Add(dir, files); err != nil {
			return err
		}
	}
	return s.Commit()
}
