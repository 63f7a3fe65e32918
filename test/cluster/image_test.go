// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestImageArchive(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "program", "#!content")
	image := Image{
		Name:       "registry.example.com/a/b:1",
		Files:      map[string]string{"/usr/bin/b": filepath.Join(dir, "program")},
		Entrypoint: []string{"/usr/bin/b", "serve"},
	}
	archive := filepath.Join(dir, "images.tar")
	if err := writeArchive(archive, []Image{image}); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(image.Name)
	if err != nil {
		t.Fatal(err)
	}
	read, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := read.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(config.Config.Entrypoint, image.Entrypoint) || config.OS != "linux" {
		t.Errorf("configuration %+v of OS %s, want the entrypoint %v of linux", config.Config, config.OS, image.Entrypoint)
	}
	layers, err := read.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("got %d layers, %v, want 1", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	want := "etc/ 755 0\ntmp/ 1777 0\nusr/ 755 0\nusr/bin/ 755 0\nusr/bin/b 755 9\n"
	if got := list(t, content); got != want {
		t.Errorf("the layer holds\n%s\nwant\n%s", got, want)
	}
}

func TestImageErrorsNameTheImage(t *testing.T) {
	for _, i := range []Image{
		{Name: "no-registry-and-no-tag"},
		{Name: "registry.example.com/a:1", Files: map[string]string{"/a": "/does/not/exist"}},
	} {
		err := writeArchive(filepath.Join(t.TempDir(), "images.tar"), []Image{i})
		if err == nil || !strings.Contains(err.Error(), i.Name) {
			t.Errorf("image %s: got %v, want an error that names it", i.Name, err)
		}
	}
}

func list(t *testing.T, layer io.Reader) string {
	t.Helper()
	var out strings.Builder
	for r := tar.NewReader(layer); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %o %d\n", header.Name, header.Mode, header.Size)
	}
}
