// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

const branchPrefix = "bulkhead/"

// Our commits carry this address and this trailer, which names the commit they are based on.
const (
	botName     = "bulkhead"
	botEmail    = "bulkhead@bulkhead.dev"
	baseTrailer = "Bulkhead-Base: "
)

// Branch is where a namespace's proposal is committed; that of removals has a branch of its own.
func Branch(cluster, namespace string, retire bool) string {
	name := branchPrefix + cluster + "/" + namespace
	if retire {
		return name + ".retire" // no namespace has a dot in its name
	}
	return name
}

// PersonError says that a proposal's branch carries a commit that is not ours, which is never
// overwritten.
type PersonError struct {
	Branch, Commit, Author string
}

func (e *PersonError) Error() string {
	return fmt.Sprintf("branch %s carries commit %s by %s, and is left alone: merge it or delete it, then propose again", e.Branch, e.Commit, e.Author)
}

// Propose commits files as the whole content of dir, on top of the base branch, to branch. It returns the
// zero hash when the branch has that content already. A branch is replaced only if all that
// is on it is our own commit.
func (r *Repository) Propose(ctx context.Context, branch, dir string, files tree.Files, message string) (plumbing.Hash, error) {
	base, err := r.Base()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := r.mayReplace(branch); err != nil {
		return plumbing.ZeroHash, err
	}
	old, err := r.branch(branch)
	if err != nil && !errors.Is(err, plumbing.ErrReferenceNotFound) {
		return plumbing.ZeroHash, fmt.Errorf("branch %s: %w", branch, err)
	}
	root, err := r.graft(base.TreeHash, strings.Split(dir, "/"), files)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("write %s to branch %s: %w", dir, branch, err)
	}
	if old != nil && old.TreeHash == root {
		return plumbing.ZeroHash, nil
	}
	commit, err := r.commit(root, base, message)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("commit to branch %s: %w", branch, err)
	}
	if err := r.move(ctx, branch, old, commit); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("update branch %s of Git repository %s: %w", branch, r.cfg.Location, err)
	}
	return commit, nil
}

// mayReplace is nil when all that is on the branch is merged or our own commit.
func (r *Repository) mayReplace(branch string) error {
	tip, err := r.pending(branch)
	if err != nil || tip == nil || ours(tip) {
		return err
	}
	return &PersonError{branch, tip.Hash.String()[:12], tip.Author.Name}
}

// ours reports whether a commit and what it is based on is as Propose left it: a rebase or an
// amendment by a person has another committer or another parent.
func ours(c *object.Commit) bool {
	if c.Author.Email != botEmail || c.Committer.Email != botEmail || c.NumParents() != 1 {
		return false
	}
	return strings.HasSuffix(c.Message, baseTrailer+c.ParentHashes[0].String()+"\n")
}

// graft returns the tree with files as the whole content of the directory at path.
func (r *Repository) graft(root plumbing.Hash, path []string, files tree.Files) (plumbing.Hash, error) {
	if len(path) == 0 {
		return r.directory(files)
	}
	t := &object.Tree{}
	if !root.IsZero() {
		existing, err := r.git.TreeObject(root)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		t.Entries = slices.Clone(existing.Entries)
	}
	below := plumbing.ZeroHash
	i := slices.IndexFunc(t.Entries, func(e object.TreeEntry) bool { return e.Name == path[0] })
	if i >= 0 {
		if t.Entries[i].Mode != filemode.Dir {
			return plumbing.ZeroHash, fmt.Errorf("%s is there and is not a directory", path[0])
		}
		below = t.Entries[i].Hash
		t.Entries = slices.Delete(t.Entries, i, i+1)
	}
	hash, err := r.graft(below, path[1:], files)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	t.Entries = append(t.Entries, object.TreeEntry{Name: path[0], Mode: filemode.Dir, Hash: hash})
	return r.storeTree(t)
}

// directory stores files, whose names may have directories of their own, as a tree.
func (r *Repository) directory(files tree.Files) (plumbing.Hash, error) {
	t, below := &object.Tree{}, map[string]tree.Files{}
	for name, content := range files {
		if first, rest, nested := strings.Cut(name, "/"); nested {
			if below[first] == nil {
				below[first] = tree.Files{}
			}
			below[first][rest] = content
			continue
		}
		blob := &plumbing.MemoryObject{}
		blob.SetType(plumbing.BlobObject)
		if _, err := blob.Write(content); err != nil {
			return plumbing.ZeroHash, err
		}
		hash, err := r.git.Storer.SetEncodedObject(blob)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: hash})
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		hash, err := r.directory(below[name])
		if err != nil {
			return plumbing.ZeroHash, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: hash})
	}
	return r.storeTree(t)
}

func (r *Repository) storeTree(t *object.Tree) (plumbing.Hash, error) {
	slices.SortFunc(t.Entries, func(a, b object.TreeEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	return r.store(t)
}

// sortName is Git's order: a directory sorts as if its name ended in a slash.
func sortName(e object.TreeEntry) string {
	if e.Mode == filemode.Dir {
		return e.Name + "/"
	}
	return e.Name
}

type encoder interface {
	Encode(plumbing.EncodedObject) error
}

func (r *Repository) store(o encoder) (plumbing.Hash, error) {
	encoded := r.git.Storer.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return r.git.Storer.SetEncodedObject(encoded)
}

func (r *Repository) commit(root plumbing.Hash, base *object.Commit, message string) (plumbing.Hash, error) {
	who := object.Signature{Name: botName, Email: botEmail, When: time.Now()}
	return r.store(&object.Commit{
		Author: who, Committer: who, TreeHash: root, ParentHashes: []plumbing.Hash{base.Hash},
		Message: strings.TrimRight(message, "\n") + "\n\n" + baseTrailer + base.Hash.String() + "\n",
	})
}

// move points the branch at the commit, if it is still where it was looked at.
func (r *Repository) move(ctx context.Context, branch string, old *object.Commit, commit plumbing.Hash) error {
	name := plumbing.NewBranchReferenceName(branch)
	var before *plumbing.Reference
	if old != nil {
		before = plumbing.NewHashReference(name, old.Hash)
	}
	if err := r.git.Storer.CheckAndSetReference(plumbing.NewHashReference(name, commit), before); err != nil {
		return err
	}
	if r.temp == "" {
		return nil
	}
	options := &git.PushOptions{
		RemoteName: remoteName, Auth: r.auth,
		RefSpecs: []config.RefSpec{config.RefSpec(name + ":" + name)},
	}
	if old != nil {
		// go-git takes what is expected at the remote from the tracking reference.
		tracking := plumbing.NewRemoteReferenceName(remoteName, branch)
		if err := r.git.Storer.SetReference(plumbing.NewHashReference(tracking, old.Hash)); err != nil {
			return err
		}
		options.ForceWithLease = &git.ForceWithLease{RefName: name, Hash: old.Hash}
	}
	err := r.git.PushContext(ctx, options)
	if err != nil { // the copy must not claim what the repository does not have
		return errors.Join(err, r.Refresh(ctx))
	}
	return nil
}

// Proposed are the files of dir on a branch; nil when there is no such branch, or when all that is
// on it was merged.
func (r *Repository) Proposed(branch, dir string) (tree.Files, error) {
	tip, err := r.pending(branch)
	if err != nil || tip == nil {
		return nil, err
	}
	return Files(tip, dir)
}

// pending is the newest commit of a branch that is not merged; nil when there is none.
func (r *Repository) pending(branch string) (*object.Commit, error) {
	tip, err := r.branch(branch)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("branch %s: %w", branch, err)
	}
	base, err := r.Base()
	if err != nil {
		return nil, err
	}
	merged, err := tip.IsAncestor(base)
	if err != nil {
		return nil, fmt.Errorf("compare branch %s with %s: %w", branch, r.cfg.Base, err)
	}
	if merged {
		return nil, nil
	}
	return tip, nil
}
