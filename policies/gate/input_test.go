// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// What a rule sees, field by field. The names are an interface: users write rules against them.
func TestInputDocument(t *testing.T) {
	in := Input{
		Object:    map[string]any{"kind": "NetworkPolicy", "n": int64(1), "f": 1.5},
		Operation: "CREATE",
		User:      User{Username: "dev", Groups: []string{"a"}, MayWeaken: true},
		Profile:   &Profile{Name: "lax", Selected: "standard", Exists: true, StartingMode: "audit", MinimumMode: "observe"},
		Policy:    &netpol.PolicyView{Namespace: "shop", Name: "api", Isolates: []string{"Ingress"}, Allows: []netpol.RuleView{}},
	}
	want := `{"namespace":null,"object":{"f":1.5,"kind":"NetworkPolicy","n":1},"oldObject":null,"oldPolicy":null,"operation":"CREATE",` +
		`"params":{"x":"y"},"policy":{"allows":[],"isolates":["Ingress"],"name":"api","namespace":"shop","selectsAll":false},` +
		`"profile":{"exists":true,"minimumMode":"observe","name":"lax","requiredLabels":[],"selected":"standard","startingMode":"audit"},` +
		`"user":{"groups":["a"],"mayLeave":false,"mayWeaken":true,"trusted":false,"username":"dev"}}`
	if got := seen(t, in, `{"x": "y"}`); got != want {
		t.Errorf("input is\n%s\nwant\n%s", got, want)
	}
}

// A rule can rely on every field being there, whatever the caller left out.
func TestEmptyInputDocument(t *testing.T) {
	want := `{"namespace":null,"object":null,"oldObject":null,"oldPolicy":null,"operation":"","params":{},"policy":null,"profile":null,` +
		`"user":{"groups":[],"mayLeave":false,"mayWeaken":false,"trusted":false,"username":""}}`
	if got := seen(t, Input{}, `{}`); got != want {
		t.Errorf("input is\n%s\nwant\n%s", got, want)
	}
}

func seen(t *testing.T, in Input, params string) string {
	t.Helper()
	d, err := in.document()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ast.JSON(d.with(ast.MustParseTerm(params).Value))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The schema that rules are compiled against has the fields of the document, no more, no fewer.
func TestSchemaIsTheDocument(t *testing.T) {
	d, err := (&Input{}).document()
	if err != nil {
		t.Fatal(err)
	}
	fields := []string{"params"}
	for _, f := range d.fields {
		fields = append(fields, string(f[0].Value.(ast.String)))
	}
	properties := inputSchema()["properties"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(properties)), slices.Sorted(slices.Values(fields)); !slices.Equal(got, want) {
		t.Errorf("schema has %q, the document %q", got, want)
	}
	user := properties["user"].(map[string]any)["properties"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(user)), slices.Sorted(maps.Keys(User{}.fields())); !slices.Equal(got, want) {
		t.Errorf("schema of user has %q, the document %q", got, want)
	}
	profile := properties["profile"].(map[string]any)["properties"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(profile)), slices.Sorted(maps.Keys((&Profile{}).fields().(map[string]any))); !slices.Equal(got, want) {
		t.Errorf("schema of profile has %q, the document %q", got, want)
	}
}
