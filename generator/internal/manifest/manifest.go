// SPDX-License-Identifier: Apache-2.0

// Package manifest reads Kubernetes objects from YAML and JSON files.
package manifest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// maxFile bounds one file; a dump of a large cluster's pods is some tens of megabytes.
const maxFile = 256 << 20

var (
	lenient = scheme.Codecs.UniversalDeserializer()
	strict  = serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
)

// Reading says how exactly the fields must fit.
type Reading int

// Lenient ignores fields that are not known: a newer server may have written them. Strict refuses
// them: in a policy, a misspelt field changes what it means.
const (
	Lenient Reading = iota
	Strict
)

// ReadDir returns the objects of all .yaml, .yml and .json files below dir, in the order of file
// names. Lists are taken apart; kinds that Kubernetes itself does not have are left out.
func ReadDir(dir string, how Reading) ([]runtime.Object, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	defer root.Close()
	var objects []runtime.Object
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !isManifest(name) {
			return err
		}
		data, err := readFile(root, name)
		if err != nil {
			return err
		}
		found, err := Parse(filepath.Join(dir, name), data, how)
		objects = append(objects, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	return objects, nil
}

func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml":
		return true
	case ".json":
		return filepath.Base(name) != "evidence.json" // the generator's own record, not an object
	}
	return false
}

func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d MiB", name, maxFile>>20)
	}
	return data, err
}

// Parse returns the objects of one file; name stands for it in errors, which also give the line at
// which the faulty document begins.
func Parse(name string, data []byte, how Reading) ([]runtime.Object, error) {
	var objects []runtime.Object
	line := 1
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		found, err := decode(doc, how)
		if err != nil {
			return nil, fmt.Errorf("%s: document at line %d: %s", name, line, oneLine(err))
		}
		objects = append(objects, found...)
		line += bytes.Count(doc, []byte("\n")) + 1 // the separator is not part of doc
	}
}

func decode(doc []byte, how Reading) ([]runtime.Object, error) {
	if isBlank(doc) {
		return nil, nil
	}
	decoder := lenient
	if how == Strict {
		decoder = strict
	}
	object, _, err := decoder.Decode(doc, nil, nil)
	if runtime.IsNotRegisteredError(err) || runtime.IsMissingKind(err) && how == Lenient {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !meta.IsListType(object) {
		return []runtime.Object{object}, nil
	}
	return items(object, how)
}

func items(list runtime.Object, how Reading) ([]runtime.Object, error) {
	elements, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	for i, e := range elements {
		raw, ok := e.(*runtime.Unknown)
		if !ok {
			objects = append(objects, e)
			continue
		}
		found, err := decode(raw.Raw, how)
		if err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func isBlank(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
