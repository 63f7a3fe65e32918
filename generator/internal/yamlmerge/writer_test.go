// SPDX-License-Identifier: Apache-2.0

package yamlmerge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// oddWords are written in as many ways, and those of the second half cannot be indented, or not be written.
var oddWords = []string{
	"api", "", "yes", "null", "1e3", "0x1", "8080", "1:30", "-", "- x", "a:b", "#", "*a", "{}", "'", "2001-01-01", strings.Repeat("x", 300), "~", "=", "!!str",
	"a: b", `"`, `\`, "x\n---\ny", "\t", "é", "\u0085", "\u2028", "<<", "&a", strings.Repeat("a long sentence ", 20), "x\x00", " ", "a\n\n  b\n",
}

type generator struct {
	*rand.Rand
	words []string
}

func (g generator) word() string { return g.words[g.IntN(len(g.words))] }

func some[T any](g generator, most int, one func() T) (out []T) {
	for range g.IntN(most + 1) {
		out = append(out, one())
	}
	return out
}

func (g generator) selector() *metav1.LabelSelector {
	s := &metav1.LabelSelector{}
	for range g.IntN(4) {
		metav1.AddLabelToSelector(s, g.word()+g.word(), g.word())
	}
	s.MatchExpressions = some(g, 1, func() metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: g.word(), Operator: metav1.LabelSelectorOpIn, Values: some(g, 2, g.word)}
	})
	return s
}

func (g generator) peer() networkingv1.NetworkPolicyPeer {
	switch g.IntN(3) {
	case 0:
		return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: g.word(), Except: some(g, 2, g.word)}}
	case 1:
		return networkingv1.NetworkPolicyPeer{PodSelector: g.selector()}
	}
	return networkingv1.NetworkPolicyPeer{PodSelector: g.selector(), NamespaceSelector: g.selector()}
}

func (g generator) port() networkingv1.NetworkPolicyPort {
	var out networkingv1.NetworkPolicyPort
	port, protocol := intstr.FromInt32(g.Int32N(1<<16)), corev1.ProtocolTCP
	if g.IntN(2) == 0 {
		port = intstr.FromString(g.word())
	}
	if g.IntN(2) == 0 {
		out.Port = &port
	}
	if g.IntN(2) == 0 {
		out.Protocol = &protocol
	}
	return out
}

func (g generator) policy() *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: g.word(), Namespace: g.word()}}
	if g.IntN(9) > 0 {
		p.TypeMeta = metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}
	}
	if g.IntN(9) == 0 {
		p.Annotations = map[string]string{g.word(): g.word()}
	}
	p.Spec = networkingv1.NetworkPolicySpec{
		PodSelector: *g.selector(),
		Ingress: some(g, 4, func() networkingv1.NetworkPolicyIngressRule {
			return networkingv1.NetworkPolicyIngressRule{From: some(g, 2, g.peer), Ports: some(g, 2, g.port)}
		}),
		Egress: some(g, 4, func() networkingv1.NetworkPolicyEgressRule {
			return networkingv1.NetworkPolicyEgressRule{To: some(g, 2, g.peer), Ports: some(g, 2, g.port)}
		}),
		PolicyTypes: some(g, 2, func() networkingv1.PolicyType { return networkingv1.PolicyTypeEgress }),
	}
	return p
}

// TestWriter: what is written in parts is what the libraries write at once, to the byte, also of odd words.
func TestWriter(t *testing.T) {
	w, inParts := &Writer{}, 0
	for seed := range uint64(1000) {
		g := generator{rand.New(rand.NewPCG(seed, 3)), oddWords[:2+int(seed)%(len(oddWords)-1)]}
		policies := some(g, 2, g.policy)
		docs, err := DocumentsOf(policies...)
		if err != nil {
			t.Fatal(err)
		}
		want, errWant := docs.Marshal()
		wantJSON, err := json.Marshal(docs)
		if err != nil {
			t.Fatal(err)
		}
		text, doc, err := w.Policies(policies...)
		if (err == nil) != (errWant == nil) || err == nil && (!bytes.Equal(text, want) || !bytes.Equal(doc, wantJSON)) {
			t.Fatalf("seed %d: %v, wrote\n%s\n%s\nwant %v\n%s\n%s", seed, err, text, doc, errWant, want, wantJSON)
		}
		for _, p := range policies {
			if (&file{Writer: w}).inParts(p) == nil {
				inParts++
			}
		}
	}
	if inParts < 150 {
		t.Errorf("only %d policies were written in parts", inParts)
	}
}

// TestWriterKnowsAllFields: a field that a later version of the API has is not left out without a word.
func TestWriterKnowsAllFields(t *testing.T) {
	for _, rule := range []any{networkingv1.NetworkPolicyIngressRule{}, networkingv1.NetworkPolicyEgressRule{}} {
		if v := reflect.TypeOf(rule); v.NumField() != 2 {
			t.Errorf("a %s has %d fields; write the others too", v, v.NumField())
		}
	}
}

// TestWriterIsBounded: it forgets before it remembers too much.
func TestWriterIsBounded(t *testing.T) {
	w := &Writer{}
	for i := range 300 {
		p := many(1)
		p.Spec.Ingress[0].From[0].PodSelector.MatchLabels[fmt.Sprint(i)] = strings.Repeat("x", 10_000)
		if _, _, err := w.Policies(p); err != nil {
			t.Fatal(err)
		}
	}
	if w.size > maxRemembered || len(w.lists) == 0 || len(w.lists) > 280 {
		t.Errorf("%d lists of %d bytes are remembered", len(w.lists), w.size)
	}
}

// many is a policy of this many rules.
func many(rules int) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: "shop"},
	}
	selector := func(key string, i int) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: fmt.Sprintf("service-%d", i)}}
	}
	for i := range rules {
		port := intstr.FromInt32(int32(8000 + i%3))
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{
			From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: selector(corev1.LabelMetadataName, i%7), PodSelector: selector("app.kubernetes.io/name", i)}},
			Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
		})
	}
	return p
}

// BenchmarkWriter writes policies of 200 rules as they are written for a cluster, where their peers are known by then, and
// BenchmarkDocuments as the libraries do.
func BenchmarkWriter(b *testing.B) {
	w, p := &Writer{}, many(200)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.Policies(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDocuments(b *testing.B) {
	p := many(200)
	b.ReportAllocs()
	for b.Loop() {
		if err := (&file{}).atOnce(p); err != nil {
			b.Fatal(err)
		}
	}
}
