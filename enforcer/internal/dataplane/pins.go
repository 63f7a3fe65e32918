// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

const mapsPrefix = "maps-"

// pins are the places in the BPF file system. Maps live in a directory named after their layout, so
// that a version with another layout builds its state beside the one that is enforced, and takes over
// at its first Load.
type pins struct {
	root, maps, links string
}

func newPins(root string, spec *ebpf.CollectionSpec) (pins, error) {
	p := pins{
		root:  root,
		maps:  filepath.Join(root, mapsPrefix+layout(spec)),
		links: filepath.Join(root, "links"),
	}
	for _, dir := range []string{p.maps, p.links} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return p, fmt.Errorf("create directory for pins: %w", err)
		}
	}
	return p, nil
}

// layout digests everything about maps that another version of the programs must agree with.
func layout(spec *ebpf.CollectionSpec) string {
	digest := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		for m := spec.Maps[name]; m != nil; m = m.InnerMap {
			describe(digest, name, m)
		}
	}
	return fmt.Sprintf("%x", digest.Sum(nil)[:6])
}

func describe(w io.Writer, name string, m *ebpf.MapSpec) {
	fmt.Fprintln(w, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
	describeType(w, m.Key)
	describeType(w, m.Value)
}

// describeType writes sizes, offsets and names, down to the members of structs.
func describeType(w io.Writer, t btf.Type) {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		for _, member := range t.Members {
			fmt.Fprintln(w, member.Name, member.Offset)
			describeType(w, member.Type)
		}
	case *btf.Array:
		fmt.Fprintln(w, t.Nelems)
		describeType(w, t.Type)
	case *btf.Int:
		fmt.Fprintln(w, t.Size, t.Encoding)
	}
}

// removeOtherMaps forgets the state of versions with another layout.
func (p pins) removeOtherMaps() error {
	entries, err := os.ReadDir(p.root)
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(p.root, e.Name())
		if strings.HasPrefix(e.Name(), mapsPrefix) && path != p.maps {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}

// Remove detaches and forgets the datapath pinned under pinPath, whoever left it. Nothing there is
// no error.
func Remove(pinPath string) error {
	for _, kind := range []string{"links", mapsPrefix + "*"} {
		paths, err := filepath.Glob(filepath.Join(pinPath, kind))
		if err != nil {
			return fmt.Errorf("list pins in %s: %w", pinPath, err)
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("unpin the datapath: %w", err)
			}
		}
	}
	if isMountPoint(pinPath) {
		if err := unix.Unmount(pinPath, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount the BPF file system from %s: %w", pinPath, err)
		}
	}
	if err := os.Remove(pinPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove directory for pins: %w", err)
	}
	return nil
}

// defaultBPFFS is where systems mount the BPF file system; it is never unmounted.
const defaultBPFFS = "/sys/fs/bpf"

// ensureBPFFS makes path a directory in a BPF file system.
func ensureBPFFS(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("pin path %q: give an absolute path in a BPF file system, such as %s/bulkhead", path, defaultBPFFS)
	}
	if strings.HasPrefix(path, defaultBPFFS+"/") && !isBPFFS(defaultBPFFS) {
		if err := mountBPFFS(defaultBPFFS); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("create directory for pins: %w", err)
	}
	if isBPFFS(path) {
		return nil
	}
	return mountBPFFS(path)
}

func mountBPFFS(path string) error {
	if err := unix.Mount("bpffs", path, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return fmt.Errorf("mount a BPF file system on %s (run as root, or mount it beforehand): %w", path, err)
	}
	return nil
}

func isBPFFS(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Type == unix.BPF_FS_MAGIC
}

// isMountPoint reports whether Open may have mounted path for itself.
func isMountPoint(path string) bool {
	var self, parent unix.Stat_t
	if path == defaultBPFFS || unix.Stat(path, &self) != nil || unix.Stat(filepath.Dir(path), &parent) != nil {
		return false
	}
	return self.Dev != parent.Dev
}

// lockDirectory keeps a second process from driving the same datapath.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open directory for pins: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process drives the datapath pinned in %s: %w", path, err), f.Close())
	}
	return f, nil
}
