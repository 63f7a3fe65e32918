// SPDX-License-Identifier: Apache-2.0

// Package architecture holds the tests of who may import whom.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bulkhead-dev/bulkhead/"

// rule: nothing under from may depend, directly or not, on anything under any of never.
type rule struct {
	from   string
	never  []string
	reason string
}

var rules = []rule{
	{
		"policies/netpol",
		[]string{"k8s.io/client-go", "github.com/open-policy-agent", "github.com/cilium", "sigs.k8s.io/controller-runtime", module + "policies/gate", module + "policies/baseline"},
		"the semantics are a leaf: every part uses them, so they must need nothing",
	},
	{
		"policies",
		[]string{module + "webhook", module + "generator", module + "enforcer", module + "bpf", "k8s.io/client-go/kubernetes"},
		"policies say what a policy means; the binaries depend on them, not the other way round",
	},
	{
		"policies/profile",
		[]string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/open-policy-agent", module + "policies/gate"},
		"profiles are values, so that they can be judged and rendered without a cluster",
	},
	{
		"policies/wording",
		[]string{"k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/open-policy-agent", "github.com/cilium", module + "policies/gate", module + "policies/profile"},
		"every binary that tells people of verdicts uses these words, so they must need nothing but the semantics",
	},
	{
		"enforcer",
		[]string{"github.com/open-policy-agent", "github.com/go-git", module + "policies/gate", module + "webhook", module + "generator"},
		"the enforcer runs on every node with capabilities: it links neither Rego nor Git",
	},
	{
		"enforcer",
		[]string{"k8s.io/client-go/kubernetes", "k8s.io/client-go/informers", "k8s.io/client-go/discovery"},
		"code for every kind of object there is takes tens of megabytes of every node's memory: see enforcer/internal/apiclient",
	},
	{
		"enforcer/internal/plan",
		[]string{"k8s.io/client-go", "github.com/cilium", module + "bpf", module + "enforcer/internal/dataplane"},
		"the plan is pure, so that it can be tested without a kernel",
	},
	{
		"webhook",
		[]string{"github.com/cilium", module + "bpf", module + "enforcer", module + "generator", "github.com/go-git"},
		"the webhook judges objects; it has no business with packets or Git",
	},
	{
		"generator",
		[]string{"github.com/cilium/ebpf", module + "bpf", module + "webhook", module + "enforcer"},
		"the generator reads flows from an API, whoever serves it",
	},
	{
		"bpf",
		[]string{"k8s.io", "sigs.k8s.io", module + "policies", module + "enforcer"},
		"the eBPF programs know bytes and maps, nothing about Kubernetes",
	},
}

// vague are names that say nothing about what a package is.
var vague = []string{"util", "utils", "common", "helper", "helpers", "types", "pkg", "misc", "shared"}

type pkg struct {
	ImportPath string
	Deps       []string
}

func TestWhoMayImportWhom(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		for _, p := range under(packages, module+r.from) {
			for _, dep := range p.Deps {
				if i := slices.IndexFunc(r.never, func(n string) bool { return within(dep, n) }); i >= 0 {
					t.Errorf("%s depends on %s: %s", p.ImportPath, dep, r.reason)
				}
			}
		}
	}
}

func TestRulesNameExistingPackages(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		if len(under(packages, module+r.from)) == 0 {
			t.Errorf("there is no package under %s: the rule about it checks nothing", r.from)
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, p := range list(t) {
		name := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]
		if slices.Contains(vague, name) {
			t.Errorf("%s: the name %q says nothing; name the package after what it provides", p.ImportPath, name)
		}
	}
}

func under(packages []pkg, path string) []pkg {
	return slices.DeleteFunc(slices.Clone(packages), func(p pkg) bool { return !within(p.ImportPath, path) })
}

func within(path, parent string) bool {
	parent = strings.TrimSuffix(parent, "/")
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Deps", module+"...")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return under(packages, module)
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}
