// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"
)

// references are the files that a kustomization names.
type references struct {
	resources []string // files or folders
	manifests []string // files that are parsed
	files     []string // files that are not
	inline    []string // YAML in the kustomization itself
}

func referencesOf(fields map[string]any) references {
	var r references
	for _, name := range []string{"resources", "components", "bases"} {
		r.resources = append(r.resources, texts(fields[name])...)
	}
	for _, name := range []string{"patches", "patchesJson6902", "replacements"} {
		r.manifests = append(r.manifests, within(fields[name], "path")...)
		r.inline = append(r.inline, within(fields[name], "patch")...)
	}
	r.manifests = append(r.manifests, texts(fields["configurations"])...)
	for _, patch := range texts(fields["patchesStrategicMerge"]) {
		if strings.Contains(patch, "\n") {
			r.inline = append(r.inline, patch)
		} else {
			r.manifests = append(r.manifests, patch)
		}
	}
	for _, name := range []string{"configMapGenerator", "secretGenerator"} {
		r.files = append(r.files, within(fields[name], "envs")...)
		r.files = append(r.files, within(fields[name], "env")...)
		for _, f := range within(fields[name], "files") {
			_, file, named := strings.Cut(f, "=") // key=file
			if !named {
				file = f
			}
			r.files = append(r.files, file)
		}
	}
	return r
}

// within are the texts of a field in each element of a list. As kustomize does, it takes the name
// of the field in upper or lower case.
func within(list any, field string) []string {
	elements, _ := list.([]any)
	var out []string
	for _, e := range elements {
		m, _ := e.(map[string]any)
		for name, v := range m {
			if strings.EqualFold(name, field) {
				out = append(out, texts(v)...)
			}
		}
	}
	return out
}

// texts are the elements of a list, or the one text.
func texts(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	return []string{fmt.Sprint(v)}
}
