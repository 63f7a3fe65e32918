// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// disagreement is the smallest part of the cluster on which evaluator and oracle disagree, as a case
// for the corpus with the oracle's opinion. The sentence under test is for a person to write.
func disagreement(t *testing.T, objs netpol.Objects, c netpol.Connection) string {
	t.Helper()
	objs = random.Shrink(objs, func(o netpol.Objects) bool { return !agree(o, c) })
	want := newOracle(objs).judge(c)
	s, err := netpol.Compile(objs)
	var faults strings.Builder
	for _, f := range netpol.ObjectErrors(err) {
		fmt.Fprintf(&faults, "%s: %s\n", f.Object, f.Path)
	}
	return fmt.Sprintf("%s-- connections --\n# Evaluate says %s\n%s\n-- errors --\n%s",
		dump(t, objs), corpus.WantOf(s.Evaluate(c)), caseLine(c, want.want()), &faults)
}

// faultDisagreement is the smallest part of the cluster on whose faults the two disagree.
func faultDisagreement(t *testing.T, objs netpol.Objects) string {
	t.Helper()
	objs = random.Shrink(objs, func(objs netpol.Objects) bool {
		_, err := netpol.Compile(objs)
		return !newOracle(objs).agreesOnFaults(err)
	})
	_, err := netpol.Compile(objs)
	o := newOracle(objs)
	return fmt.Sprintf("%s-- errors --\n# Compile says %v\n# sound: %v; of ClusterNetworkPolicies %q", dump(t, objs), err, o.sound, o.faults)
}

// What a failure prints can be put into the corpus as it is.
func TestDisagreementIsACase(t *testing.T) {
	for i := range 50 {
		g := random.New(*oracleSeed, uint64(i))
		objs := g.Objects()
		c := g.Connection(objs)
		for c.From == (netpol.Peer{}) || c.To == (netpol.Peer{}) {
			c = g.Connection(objs)
		}
		f, err := corpus.Parse("case.txtar", []byte("The sentence.\n"+disagreement(t, objs, c)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := netpol.Compile(f.Objects)
		checkFaults(t, f, netpol.ObjectErrors(err))
		if got := f.Connections[0]; corpus.WantOf(s.Evaluate(got.Connection)) != got.Want || got.From != c.From || got.To != c.To {
			t.Errorf("seed %d cluster %d: %+v became %s", *oracleSeed, i, c, got.Line)
		}
	}
}

func agree(objs netpol.Objects, c netpol.Connection) bool {
	s, _ := netpol.Compile(objs)
	want := newOracle(objs).judge(c)
	return want.agrees(s.Evaluate(c))
}

func caseLine(c netpol.Connection, w corpus.Want) string {
	verb, rest, _ := strings.Cut(w.String(), " ")
	return fmt.Sprintf("%s %s -> %s %s/%d  %s", verb, peerText(c.From), peerText(c.To), cmp.Or(c.Protocol, "TCP"), c.Port, rest)
}

func peerText(p netpol.Peer) string {
	switch {
	case p.Service != types.NamespacedName{}:
		return "svc:" + p.Service.String()
	case p.Pod == types.NamespacedName{}:
		return p.Addr.String()
	case !p.Addr.IsValid():
		return p.Pod.String()
	}
	return p.Pod.String() + "@" + p.Addr.String()
}

// dump is the objects as a section of a case file.
func dump(t *testing.T, objs netpol.Objects) string {
	t.Helper()
	text, err := random.YAML(objs)
	if err != nil {
		t.Fatal(err)
	}
	return "-- objects.yaml --\n" + text
}
