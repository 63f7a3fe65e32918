// SPDX-License-Identifier: Apache-2.0

package explain_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/generator/internal/explain"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// For every denied connection of the corpus the suggested fragments, pasted where they say, allow it, and
// where there is no suggestion, policies are not the reason.
func TestSuggestionsForTheCorpus(t *testing.T) {
	files, err := corpus.Load(filepath.Join("..", "..", "..", "policies", "netpol", "testdata", "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	helped, unhelped := 0, map[string]int{}
	for _, f := range files {
		w := explain.NewWorld(f.Objects, inventory.New(podObjects(f.Objects)))
		for _, c := range f.Connections {
			e := w.Snapshot.Explain(c.Connection)
			s := w.Suggest(e)
			if e.Verdict.Allowed {
				if s.Steps != nil || s.None != "" {
					t.Errorf("%s: allowed, and yet %+v", c.Pos, s)
				}
				continue
			}
			if s.None != "" {
				unhelped[string(e.Denied()[0].Decision.Reason)]++
				checkNone(t, c.Pos+": "+c.Line, e, s)
				continue
			}
			helped++
			pasted := paste(t, w.Objects, s.Steps)
			after, _ := netpol.Compile(pasted)
			if v := after.Evaluate(c.Connection); !v.Allowed {
				t.Errorf("%s: %s\nstill denied after %s", c.Pos, c.Line, dump(s))
			}
		}
	}
	t.Logf("%d denied connections with a suggestion, without: %v", helped, unhelped)
	if helped < 300 {
		t.Errorf("only %d denied connections", helped)
	}
}

func checkNone(t *testing.T, where string, e netpol.Explanation, s explain.Suggestion) {
	t.Helper()
	side := e.Denied()[0]
	switch side.Decision.Reason {
	case netpol.UnknownPod, netpol.UnknownBackend:
		if strings.HasPrefix(s.None, "Policies are not the reason") {
			return
		}
	case netpol.RuleDenied:
		if strings.HasPrefix(s.None, "Correct ") || strings.Contains(s.None, "the policy is full") && (side.Decision.Rule.Index == 24 || side.Port == 0) {
			return
		}
	}
	t.Errorf("%s: no suggestion: %s", where, s.None)
}

func podObjects(objs netpol.Objects) (all []runtime.Object) {
	for _, p := range objs.Pods {
		all = append(all, p)
	}
	return all
}

func dump(v any) string {
	text, _ := yaml.Marshal(v)
	return string(text)
}

// paste puts the fragments into copies of the objects, as a person would.
func paste(t *testing.T, objs netpol.Objects, steps []explain.Step) netpol.Objects {
	t.Helper()
	objs.Policies, objs.ClusterPolicies = slices.Clone(objs.Policies), slices.Clone(objs.ClusterPolicies)
	for _, s := range steps {
		if s.Verb == explain.AddPolicy {
			np := new(networkingv1.NetworkPolicy)
			if err := yaml.UnmarshalStrict([]byte(s.Fragment), np); err != nil {
				t.Fatal(err)
			}
			objs.Policies = append(objs.Policies, np)
			continue
		}
		for i, np := range objs.Policies {
			if s.Kind == "NetworkPolicy" && np.Namespace == s.Namespace && np.Name == s.Name {
				objs.Policies[i] = pasteInto(t, np, new(networkingv1.NetworkPolicy), s)
				break
			}
		}
		for i, cnp := range objs.ClusterPolicies {
			if s.Kind == "ClusterNetworkPolicy" && cnp.Name == s.Name {
				objs.ClusterPolicies[i] = pasteInto(t, cnp, new(policyv1alpha2.ClusterNetworkPolicy), s)
				break
			}
		}
	}
	return objs
}

// pasteInto adds the items of a fragment to the list at its path.
func pasteInto[T any](t *testing.T, old, next *T, s explain.Step) *T {
	t.Helper()
	var tree map[string]any
	var items []any
	text, err := json.Marshal(old)
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err == nil {
		err = yaml.Unmarshal([]byte(s.Fragment), &items)
	}
	if err != nil {
		t.Fatal(err)
	}
	insert(tree, strings.FieldsFunc(s.Path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }), &s, items)
	if text, err = json.Marshal(tree); err == nil {
		err = json.Unmarshal(text, next)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Path, err, text)
	}
	return next
}

func insert(node any, path []string, s *explain.Step, items []any) {
	if list, ok := node.([]any); ok {
		i, err := strconv.Atoi(path[0])
		if err != nil {
			panic(fmt.Sprint("no index: ", path))
		}
		insert(list[i], path[1:], s, items)
		return
	}
	fields := node.(map[string]any)
	if len(path) > 1 {
		insert(fields[path[0]], path[1:], s, items)
		return
	}
	list, _ := fields[path[0]].([]any)
	switch s.Verb {
	case explain.PutBefore:
		fields[path[0]] = slices.Insert(list, *s.Index, items...)
	case explain.Replace:
		fields[path[0]] = slices.Replace(list, *s.Index, *s.Index+1, items...)
	default:
		fields[path[0]] = append(list, items...)
	}
}
