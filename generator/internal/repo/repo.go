// SPDX-License-Identifier: Apache-2.0

// Package repo reads and writes the Git repository that records what is approved. It works on the
// object store: nothing is checked out, no hook runs, no git binary is needed.
package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// Bounds of what is read out of a repository.
const (
	maxFiles = 10_000
	maxBytes = 64 << 20
)

const remoteName = "origin"

// Config says which repository, and how to enter it.
type Config struct {
	Location string // a directory (bare or not), or a URL
	Base     string // the branch that is approved, e.g. main
	Token    string // for http(s) URLs; empty: none
}

// Repository is an opened repository. A remote one is a bare copy on disk, of the branches needed.
type Repository struct {
	git  *git.Repository
	cfg  Config
	auth transport.AuthMethod
	temp string // the copy of a remote repository; empty for a local one
}

// Open opens a local repository in place, or fetches a remote one.
func Open(ctx context.Context, cfg Config) (*Repository, error) {
	if info, err := os.Stat(cfg.Location); err == nil && info.IsDir() {
		g, err := git.PlainOpen(cfg.Location)
		if err != nil {
			return nil, fmt.Errorf("open Git repository %s: %w", cfg.Location, err)
		}
		return &Repository{git: g, cfg: cfg}, nil
	}
	if !strings.Contains(cfg.Location, ":") {
		return nil, fmt.Errorf("open Git repository %s: no such directory, and not a URL", cfg.Location)
	}
	// go-git takes keys from an agent and from nowhere else, and says only that it found none.
	endpoint, err := transport.NewEndpoint(cfg.Location)
	if err == nil && endpoint.Protocol == "ssh" && os.Getenv("SSH_AUTH_SOCK") == "" {
		return nil, fmt.Errorf("open Git repository %s: with SSH, keys come from an SSH agent, and SSH_AUTH_SOCK names none: start one and ssh-add the key, or give an https URL with --git-token-file", cfg.Location)
	}
	return clone(ctx, cfg)
}

func clone(ctx context.Context, cfg Config) (_ *Repository, err error) {
	temp, err := os.MkdirTemp("", "bulkhead-git-")
	if err != nil {
		return nil, fmt.Errorf("copy of Git repository %s: %w", cfg.Location, err)
	}
	r := &Repository{cfg: cfg, temp: temp}
	if cfg.Token != "" {
		r.auth = &http.BasicAuth{Username: "bulkhead", Password: cfg.Token}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if r.git, err = git.PlainInit(temp, true); err != nil {
		return nil, fmt.Errorf("copy of Git repository %s: %w", cfg.Location, err)
	}
	if _, err = r.git.CreateRemote(&config.RemoteConfig{Name: remoteName, URLs: []string{cfg.Location}}); err != nil {
		return nil, fmt.Errorf("add remote %s: %w", cfg.Location, err)
	}
	if err = r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Refresh fetches what changed in a remote repository. A local one is always current.
func (r *Repository) Refresh(ctx context.Context) error {
	if r.temp == "" {
		return nil
	}
	err := r.git.FetchContext(ctx, &git.FetchOptions{
		RemoteName: remoteName, Auth: r.auth, Tags: git.NoTags, Prune: true,
		RefSpecs: []config.RefSpec{
			config.RefSpec(fmt.Sprintf("+refs/heads/%s:refs/heads/%s", r.cfg.Base, r.cfg.Base)),
			"+refs/heads/" + branchPrefix + "*:refs/heads/" + branchPrefix + "*",
		},
	})
	if errors.Is(err, git.NoMatchingRefSpecError{}) || errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return r.noBase(err)
	}
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return fmt.Errorf("fetch Git repository %s: %w", r.cfg.Location, err)
	}
	return nil
}

// Close removes the copy of a remote repository.
func (r *Repository) Close() error {
	if r.temp == "" {
		return nil
	}
	return os.RemoveAll(r.temp)
}

// Base is the newest commit of the approved branch.
func (r *Repository) Base() (*object.Commit, error) {
	c, err := r.branch(r.cfg.Base)
	if err != nil {
		return nil, r.noBase(err)
	}
	return c, nil
}

func (r *Repository) noBase(err error) error {
	return fmt.Errorf("branch %s of Git repository %s: %w (create it with a first commit, or name another with --base)", r.cfg.Base, r.cfg.Location, err)
}

func (r *Repository) branch(name string) (*object.Commit, error) {
	ref, err := r.git.Reference(plumbing.NewBranchReferenceName(name), true)
	if err != nil {
		return nil, err
	}
	return r.git.CommitObject(ref.Hash())
}

// Files reads all files below a directory of a commit; no files when it is not there. Symbolic
// links and submodules are refused: what they lead to was not reviewed.
func Files(c *object.Commit, dir string) (tree.Files, error) {
	root, err := c.Tree()
	if err != nil {
		return nil, fmt.Errorf("tree of commit %s: %w", c.Hash, err)
	}
	files := tree.Files{}
	sub, err := root.Tree(dir)
	if errors.Is(err, object.ErrDirectoryNotFound) {
		return files, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s of commit %s: %w", dir, c.Hash, err)
	}
	walker := object.NewTreeWalker(sub, true, nil)
	defer walker.Close()
	total := int64(0)
	for {
		name, entry, err := walker.Next()
		if err != nil {
			break // io.EOF
		}
		switch entry.Mode {
		case filemode.Dir:
			continue
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
		default:
			return nil, fmt.Errorf("%s of commit %s is a symbolic link or a submodule: put a file there", path.Join(dir, name), c.Hash)
		}
		content, err := read(sub, name, &total)
		if err != nil {
			return nil, fmt.Errorf("%s of commit %s: %w", path.Join(dir, name), c.Hash, err)
		}
		files[name] = content
		if len(files) > maxFiles {
			return nil, fmt.Errorf("%s of commit %s has more than %d files", dir, c.Hash, maxFiles)
		}
	}
	return files, nil
}

func read(t *object.Tree, name string, total *int64) ([]byte, error) {
	f, err := t.File(name)
	if err != nil {
		return nil, err
	}
	if *total += f.Size; *total > maxBytes {
		return nil, fmt.Errorf("the directory is larger than %d MiB", maxBytes>>20)
	}
	s, err := f.Contents()
	return []byte(s), err
}

// Subdirectories are the names of the directories directly below dir, ordered; none when dir is not there.
func Subdirectories(c *object.Commit, dir string) ([]string, error) {
	root, err := c.Tree()
	if err != nil {
		return nil, fmt.Errorf("tree of commit %s: %w", c.Hash, err)
	}
	sub, err := root.Tree(dir)
	if errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s of commit %s: %w", dir, c.Hash, err)
	}
	var names []string
	for _, e := range sub.Entries { // Git keeps them ordered
		if e.Mode == filemode.Dir {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// BaseFiles returns the files of a directory on the base branch; no files when it does not have it.
func (r *Repository) BaseFiles(dir string) (tree.Files, error) {
	base, err := r.Base()
	if err != nil {
		return nil, err
	}
	return Files(base, dir)
}

// Approved is the commit with which dir became what it is: the oldest on the first-parent line
// from c that has it unchanged. On that line a merge is the approval of what it merged.
func Approved(c *object.Commit, dir string) (*object.Commit, error) {
	want, err := hashOf(c, dir)
	if err != nil {
		return nil, err
	}
	for c.NumParents() > 0 {
		parent, err := c.Parent(0)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return c, nil // the copy is shallow: nothing older is known
		}
		if err != nil {
			return nil, fmt.Errorf("parent of commit %s: %w", c.Hash, err)
		}
		have, err := hashOf(parent, dir)
		if err != nil {
			return nil, err
		}
		if have != want {
			break
		}
		c = parent
	}
	return c, nil
}

func hashOf(c *object.Commit, dir string) (plumbing.Hash, error) {
	root, err := c.Tree()
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("tree of commit %s: %w", c.Hash, err)
	}
	entry, err := root.FindEntry(dir)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("%s of commit %s: %w", dir, c.Hash, err)
	}
	return entry.Hash, nil
}

// Commit is the commit with a full hash.
func (r *Repository) Commit(hash string) (*object.Commit, error) {
	if !plumbing.IsHash(hash) {
		return nil, fmt.Errorf("%q is not a commit", hash)
	}
	return r.git.CommitObject(plumbing.NewHash(hash))
}
