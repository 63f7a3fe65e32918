// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	rules "github.com/bulkhead-dev/bulkhead/policies/rego"
)

// Limits of what is loaded and of what rules answer.
const (
	maxRules      = 200
	maxFileBytes  = 64 << 10
	maxViolations = 50  // of one rule on one object
	maxText       = 600 // bytes of a message, path or fix
)

// Source is a place that rules come from. It holds rules as <group>/<rule>/rule.rego and
// rule_test.rego, or, where names cannot have slashes, as <group>.<rule>.rego and
// <group>.<rule>_test.rego at the top; a Rego file anywhere else is an error. It may set parameters
// in a ParamsFile at the top. Other files are ignored.
type Source struct {
	// Name stands before file names in errors, e.g. "ConfigMap bulkhead-system/rules".
	Name string
	FS   fs.FS
}

// Embedded are the rules that come with Bulkhead.
func Embedded() Source { return Source{Name: "embedded", FS: rules.Files} }

// Folder are the rules of a folder, such as a mounted ConfigMap. It is read by Load, not kept open.
func Folder(dir string) Source { return Source{Name: dir, FS: os.DirFS(dir)} }

// ConfigMap are the rules in a ConfigMap's data. Nil data is a source without rules. Keys are file
// names; the error names a key that cannot be one.
func ConfigMap(name string, data map[string]string) (Source, error) {
	archive := &txtar.Archive{}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		archive.Files = append(archive.Files, txtar.File{Name: key, Data: []byte(data[key])})
	}
	files, err := txtar.FS(archive)
	if err != nil {
		return Source{}, fmt.Errorf("read rules of %s: %w", name, err)
	}
	return Source{Name: "ConfigMap " + name, FS: files}, nil
}

// file is one Rego file.
type file struct {
	name string // source and path, for errors
	text string
}

// ruleFiles are the two files of a rule.
type ruleFiles struct{ rule, test *file }

var (
	nested = regexp.MustCompile(`^([a-z][a-z0-9_]*)/([a-z][a-z0-9_]*)/rule(_test)?\.rego$`)
	flat   = regexp.MustCompile(`^([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*?)(_test)?\.rego$`)
)

// read returns the rules of a source by "group/rule".
func (s Source) read() (map[string]*ruleFiles, error) {
	names, err := regoFiles(s.FS, ".", 3)
	if err != nil {
		return nil, fmt.Errorf("read rules of %s: %w", s.Name, err)
	}
	all := map[string]*ruleFiles{}
	for _, name := range names {
		m := nested.FindStringSubmatch(name)
		if m == nil {
			m = flat.FindStringSubmatch(name)
		}
		if m == nil {
			return nil, fmt.Errorf("%s: a rule is <group>/<rule>/rule.rego with rule_test.rego beside it, or "+
				"<group>.<rule>.rego with <group>.<rule>_test.rego; groups and rules are named with a-z, 0-9 and _", s.file(name))
		}
		if err := s.add(all, m[1]+"/"+m[2], name, m[3] != ""); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s Source) add(all map[string]*ruleFiles, id, name string, isTest bool) error {
	text, err := readBounded(s.FS, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.file(name), err)
	}
	if all[id] == nil {
		all[id] = &ruleFiles{}
	}
	to := &all[id].rule
	if isTest {
		to = &all[id].test
	}
	if *to != nil {
		return fmt.Errorf("%s: rule %s is already in %s: keep one", s.file(name), id, (*to).name)
	}
	*to = &file{name: s.file(name), text: text}
	return nil
}

func (s Source) file(name string) string { return s.Name + "/" + name }

// regoFiles lists the Rego files to a depth of directories. It follows symbolic links to
// directories, because mounted ConfigMaps are made of them, and skips hidden entries, because
// they hold the same files again.
func regoFiles(files fs.FS, dir string, depth int) ([]string, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		info, err := fs.Stat(files, name)
		if err != nil {
			return nil, err
		}
		if info.IsDir() && depth > 1 {
			below, err := regoFiles(files, name, depth-1)
			if err != nil {
				return nil, err
			}
			names = append(names, below...)
		} else if !info.IsDir() && path.Ext(name) == ".rego" {
			names = append(names, name)
		}
		if len(names) > 2*maxRules {
			return nil, fmt.Errorf("more than %d rules", maxRules)
		}
	}
	return names, nil
}

func readBounded(files fs.FS, name string) (text string, err error) {
	f, err := files.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxFileBytes {
		return "", fmt.Errorf("larger than %d bytes: split the rule", maxFileBytes)
	}
	return string(data), nil
}
