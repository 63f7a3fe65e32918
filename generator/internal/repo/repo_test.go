// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/gittest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// setup makes a bare repository with one commit on main, and a person's clone of it.
func setup(t *testing.T) (bare, clone string) {
	t.Helper()
	dir := t.TempDir()
	bare, clone = filepath.Join(dir, "policies.git"), filepath.Join(dir, "clone")
	gittest.Run(t, dir, "init", "-q", "--bare", "-b", "main", bare)
	gittest.Run(t, dir, "clone", "-q", bare, clone)
	gittest.Run(t, clone, "checkout", "-q", "-b", "main")
	write(t, clone, "README.md", "policies\n")
	write(t, clone, "clusters/other/ns/keep.yaml", "a: 1\n")
	commit(t, clone, "first")
	return bare, clone
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, clone, message string) {
	t.Helper()
	gittest.Run(t, clone, "add", "-A")
	gittest.Run(t, clone, "commit", "-q", "-m", message)
	gittest.Run(t, clone, "push", "-q", "origin", "HEAD")
}

func open(t *testing.T, location string) *repo.Repository {
	t.Helper()
	r, err := repo.Open(t.Context(), repo.Config{Location: location, Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

const (
	branch = "bulkhead/prod/shop"
	dir    = "clusters/prod/shop"
)

func propose(t *testing.T, r *repo.Repository, files tree.Files) string {
	t.Helper()
	hash, err := r.Propose(t.Context(), branch, dir, files, "Network policies\n")
	if err != nil {
		t.Fatal(err)
	}
	if hash.IsZero() {
		return ""
	}
	return hash.String()
}

// TestPropose runs against the directory itself and against a URL: one writes in place, the other
// fetches and pushes.
func TestPropose(t *testing.T) {
	for _, kind := range []string{"directory", "URL"} {
		t.Run(kind, func(t *testing.T) {
			bare, clone := setup(t)
			location := bare
			if kind == "URL" {
				location = "file://" + bare
			}
			r := open(t, location)
			first := propose(t, r, tree.Files{"api.yaml": []byte("a: 1\n"), "more/x.yaml": []byte("x\n")})
			if got := gittest.Run(t, bare, "rev-parse", branch); got != first {
				t.Fatalf("branch is at %s, want %s", got, first)
			}
			gittest.Run(t, bare, "fsck", "--strict", "--full")
			gittest.Run(t, bare, "gc", "-q") // packs objects and references
			if got := gittest.Run(t, bare, "ls-tree", "-r", "--name-only", branch); got != "README.md\nclusters/other/ns/keep.yaml\nclusters/prod/shop/api.yaml\nclusters/prod/shop/more/x.yaml" {
				t.Errorf("files are\n%s", got)
			}
			if propose(t, r, tree.Files{"api.yaml": []byte("a: 1\n"), "more/x.yaml": []byte("x\n")}) != "" {
				t.Error("the same content was committed again")
			}
			second := propose(t, r, tree.Files{"api.yaml": []byte("a: 2\n")})
			if got := gittest.Run(t, bare, "rev-list", "main.."+branch); got != second {
				t.Errorf("on the branch are %s, want %s alone", got, second)
			}

			// A person works on the branch: it is left alone from now on.
			gittest.Run(t, clone, "fetch", "-q")
			gittest.Run(t, clone, "checkout", "-q", branch)
			write(t, clone, dir+"/api.yaml", "a: 3 # by hand\n")
			commit(t, clone, "by hand")
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := r.Propose(t.Context(), branch, dir, tree.Files{"api.yaml": []byte("a: 4\n")}, "m")
			var person *repo.PersonError
			if !errors.As(err, &person) || person.Author != "Kim" {
				t.Fatalf("got %v, want a PersonError about Kim", err)
			}
			if got := gittest.Run(t, bare, "log", "-1", "--format=%s", branch); got != "by hand" {
				t.Errorf("the person's commit is gone: %s", got)
			}

			// Once it is merged, the branch is free again.
			gittest.Run(t, clone, "checkout", "-q", "main")
			gittest.Run(t, clone, "merge", "-q", "--no-ff", "-m", "merge", branch)
			gittest.Run(t, clone, "push", "-q", "origin", "main")
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if files, err := r.Proposed(branch, dir); err != nil || files != nil {
				t.Errorf("a merged branch still proposes %v, %v", files, err)
			}
			if propose(t, r, tree.Files{"api.yaml": []byte("a: 4\n")}) == "" {
				t.Error("nothing was committed after the merge")
			}
		})
	}
}

// TestAmendedByAPerson: a commit of ours that a person rewrote is the person's.
func TestAmendedByAPerson(t *testing.T) {
	bare, clone := setup(t)
	r := open(t, bare)
	propose(t, r, tree.Files{"api.yaml": []byte("a: 1\n")})
	gittest.Run(t, clone, "fetch", "-q")
	gittest.Run(t, clone, "checkout", "-q", branch)
	gittest.Run(t, clone, "commit", "-q", "--amend", "--no-edit", "--reset-author")
	gittest.Run(t, clone, "push", "-q", "--force", "origin", "HEAD")
	var person *repo.PersonError
	if _, err := r.Propose(t.Context(), branch, dir, tree.Files{"api.yaml": []byte("a: 2\n")}, "m"); !errors.As(err, &person) {
		t.Errorf("got %v, want a PersonError", err)
	}
}

// TestMovedBehindOurBack: the branch changes between looking and pushing.
func TestMovedBehindOurBack(t *testing.T) {
	bare, clone := setup(t)
	r := open(t, "file://"+bare)
	propose(t, r, tree.Files{"api.yaml": []byte("a: 1\n")})
	gittest.Run(t, clone, "fetch", "-q")
	gittest.Run(t, clone, "checkout", "-q", branch)
	write(t, clone, dir+"/api.yaml", "a: 2 # by hand\n")
	commit(t, clone, "by hand")
	if _, err := r.Propose(t.Context(), branch, dir, tree.Files{"api.yaml": []byte("a: 3\n")}, "m"); err == nil {
		t.Error("the push went through")
	}
	if got := gittest.Run(t, bare, "log", "-1", "--format=%s", branch); got != "by hand" {
		t.Errorf("the person's commit is gone: %s", got)
	}
}

func TestApproved(t *testing.T) {
	bare, clone := setup(t)
	write(t, clone, dir+"/api.yaml", "a: 1\n")
	commit(t, clone, "approve")
	want := gittest.Run(t, clone, "rev-parse", "HEAD")
	write(t, clone, "README.md", "other\n")
	commit(t, clone, "something else")
	base, err := open(t, bare).Base()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := repo.Approved(base, dir); err != nil || got.Hash.String() != want {
		t.Errorf("approved by %v, %v; want %s", got, err, want)
	}
	if names, err := repo.Subdirectories(base, "clusters/prod"); err != nil || len(names) != 1 || names[0] != "shop" {
		t.Errorf("namespaces %v, %v", names, err)
	}
}

func TestRefusals(t *testing.T) {
	bare, clone := setup(t)
	if err := os.MkdirAll(filepath.Join(clone, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(clone, dir, "api.yaml")); err != nil {
		t.Fatal(err)
	}
	commit(t, clone, "link")
	base, err := open(t, bare).Base()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Files(base, dir); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a symbolic link: %v", err)
	}
	for location, want := range map[string]string{
		"/does/not/exist":                "no such directory",
		t.TempDir():                      "open Git repository",
		"http://127.0.0.1:1/nothing.git": "fetch Git repository",
	} {
		if _, err := repo.Open(t.Context(), repo.Config{Location: location, Base: "main"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", location, err, want)
		}
	}
	other, err := repo.Open(t.Context(), repo.Config{Location: bare, Base: "nope"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Base(); err == nil || !strings.Contains(err.Error(), "branch nope") {
		t.Errorf("a missing base branch: %v", err)
	}
}
