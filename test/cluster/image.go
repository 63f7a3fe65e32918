// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"
)

// Image is a container image with one layer.
type Image struct {
	// Name with registry and tag, as pods name it.
	Name string
	// Files are the files of this machine that are in the image, by their paths there: absolute, executable, root's.
	Files map[string]string
	// Entrypoint is what is run when a pod says nothing else.
	Entrypoint []string
}

// Load brings the images to every node, so that pods whose pull policy is IfNotPresent find them.
func (c *Cluster) Load(ctx context.Context, images ...Image) error {
	ctr, err := Tool(ctx, "ctr", nil)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.dir, "images-")
	if err != nil {
		return err
	}
	archive := filepath.Join(dir, "images.tar")
	var group errgroup.Group
	if err = writeArchive(archive, images); err == nil {
		for _, n := range c.Nodes {
			group.Go(func() error {
				_, err := n.Run(ctx, ctr, "--address="+runtimeSocket, "--namespace=k8s.io", "images", "import", "--local", archive)
				return err
			})
		}
	}
	return errors.Join(err, group.Wait(), os.RemoveAll(dir))
}

// writeArchive writes the images as `docker save` does.
func writeArchive(path string, images []Image) error {
	all := map[name.Tag]v1.Image{}
	for _, image := range images {
		tag, err := name.NewTag(image.Name, name.StrictValidation)
		if err != nil {
			return fmt.Errorf("image %q: %w", image.Name, err)
		}
		if all[tag], err = image.build(); err != nil {
			return fmt.Errorf("image %q: %w", image.Name, err)
		}
	}
	if err := tarball.MultiWriteToFile(path, all); err != nil {
		return fmt.Errorf("write images: %w", err)
	}
	return nil
}

func (i Image) build() (v1.Image, error) {
	// The layer is read several times; it is made anew each time instead of being kept in memory.
	open := func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(i.writeLayer(w)) }()
		return r, nil
	}
	layer, err := tarball.LayerFromOpener(open, tarball.WithCompression(compression.None))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = runtime.GOOS, runtime.GOARCH
	config.Config.Entrypoint = i.Entrypoint
	config.Config.Env = []string{"PATH=/bin:/usr/bin:/"}
	return mutate.ConfigFile(image, config)
}

// writeLayer writes the same bytes for the same files.
func (i Image) writeLayer(to io.Writer) error {
	w := tar.NewWriter(to)
	made := map[string]bool{"/": true}
	for _, dir := range []string{"/etc", "/tmp"} { // which the runtime and programs expect
		if err := makeDirs(w, made, dir); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(i.Files)) {
		if err := makeDirs(w, made, filepath.Dir(path)); err != nil {
			return err
		}
		if err := addFile(w, path, i.Files[path]); err != nil {
			return err
		}
	}
	return w.Close()
}

func makeDirs(w *tar.Writer, made map[string]bool, dir string) error {
	if made[dir] {
		return nil
	}
	if err := makeDirs(w, made, filepath.Dir(dir)); err != nil {
		return err
	}
	made[dir] = true
	mode := int64(0o755)
	if dir == "/tmp" {
		mode = 0o1777
	}
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: mode})
}

func addFile(w *tar.Writer, path, source string) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(path, "/"), Mode: 0o755, Size: info.Size()}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
