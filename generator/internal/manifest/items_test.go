// SPDX-License-Identifier: Apache-2.0

package manifest

import "testing"

func TestLists(t *testing.T) {
	const pod = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}`
	for name, tt := range map[string]struct {
		text           string
		objects, lists int
	}{
		"JSON, none":           {` {"kind": "List", "apiVersion": "v1", "items": [ ] } `, 0, 1},
		"JSON, two":            {`{"apiVersion": "v1", "items": [ ` + pod + ` , ` + pod + `], "kind": "List"}`, 2, 1},
		"JSON, one of another": {`{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}]}`, 1, 1},
		"JSON, a list in one":  {`{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "List", "items": [` + pod + `]}]}`, 1, 2},
		"JSON, no list":        {`{"apiVersion": "v1", "kind": "List", "items": {"a": []}}`, 0, 0},
		"YAML, none":           {"apiVersion: v1\nkind: List\nitems: []\n", 0, 1},
		"YAML, as kubectl":     {"apiVersion: v1\nitems:\n- " + pod + "\n- apiVersion: v1\n  kind: Pod\n\n  metadata:\n    name: a\nkind: List\n", 2, 1},
		"YAML, indented":       {"apiVersion: v1\nkind: List\nitems:\n  - " + pod + "\n  - " + pod + "\n", 2, 1},
		"YAML, an alias":       {"apiVersion: v1\nkind: List\nitems:\n- &a " + pod + "\n- *a\n", 2, 1},
	} {
		c, err := parse("x.yaml", []byte(tt.text), Strict, 9)
		if err != nil || len(c.objects) != tt.objects || c.lists != tt.lists {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
