// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

var update = flag.Bool("update", false, "write capabilities.json")

// capabilities.json, which users give to the opa command, is what the engine allows.
func TestCapabilitiesFile(t *testing.T) {
	want, err := json.MarshalIndent(testCapabilities(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("capabilities.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("capabilities.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("capabilities.json is out of date: run go generate ./policies/gate")
	}
}

// Every name on the list exists in this version of OPA, is there once and is deterministic.
func TestAllowedBuiltins(t *testing.T) {
	if n := len(restricted(allowedBuiltins).Builtins); n != len(allowedBuiltins) {
		t.Errorf("%d names, %d builtins", len(allowedBuiltins), n)
	}
	for _, name := range allowedBuiltins {
		if b := ast.BuiltinMap[name]; b == nil || b.IsNondeterministic() {
			t.Errorf("%s is no builtin or not deterministic", name)
		}
	}
}

// What must never be on the list, whatever else is put there.
func TestForbiddenBuiltins(t *testing.T) {
	forbidden := []string{"http.", "opa.", "net.lookup", "net.cidr_expand", "rand.", "uuid.", "time.now", "time.format", "io.", "crypto.", "providers.", "yaml.", "rego.", "trace", "print", "internal.print"}
	for _, b := range testCapabilities().Builtins {
		if slices.ContainsFunc(forbidden, func(prefix string) bool { return strings.HasPrefix(b.Name, prefix) }) {
			t.Errorf("%s is allowed", b.Name)
		}
	}
	if n := testCapabilities().AllowNet; n == nil || len(n) != 0 {
		t.Errorf("AllowNet %#v, want an empty list: nil allows every host", n)
	}
}
