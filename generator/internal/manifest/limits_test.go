// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"os"
	"strings"
	"testing"
)

// TestLimits: each bound is kept, and its error says what to do.
func TestLimits(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("dir/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	const pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: %}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: %2}\n"
	for file, name := range map[string]string{"dir/1.yaml": "a", "dir/a/b/2.yaml": "b"} {
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(pods, "%", name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		set  func(*limits)
		want string
	}{
		{"a file", func(l *limits) { l.file = 90 }, "dir/1.yaml: larger than 90 bytes; split it"},
		{"all files", func(l *limits) { l.total = 100 }, "dir/a/b/2.yaml: more than 100 bytes in all; give fewer paths"},
		{"number of files", func(l *limits) { l.files = 1 }, "dir/a/b/2.yaml: more than 1 files; give fewer paths"},
		{"documents", func(l *limits) { l.documents = 1 }, "dir/1.yaml:5: more than 1 documents in one file; split it"},
		{"objects", func(l *limits) { l.objects = 3 }, "dir/a/b/2.yaml:5: more than 3 objects; give fewer paths"},
		{"folders", func(l *limits) { l.folders = 1 }, "dir/a/b: folders nested more than 1 levels deep"},
	}
	for _, tt := range tests {
		most := defaults
		tt.set(&most)
		if _, err := load([]string{"dir"}, nil, Lenient, most); err == nil || err.Error() != "read manifests: "+tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if set, err := load([]string{"dir"}, nil, Lenient, defaults); err != nil || len(set.Objects) != 4 {
		t.Errorf("within the limits: %v", err)
	}
}
