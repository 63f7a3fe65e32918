// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

var oracleSeed = flag.Uint64("oracle.seed", 1, "seed of the random clusters that evaluator and oracle must agree on")

// pairsPerCluster connections are judged in each random cluster.
const pairsPerCluster = 100

// The oracle itself is held to the corpus.
func TestOracleAgreesWithCorpus(t *testing.T) {
	for _, f := range loadCorpus(t) {
		o := newOracle(f.Objects)
		if o.sound != (len(f.Faults) == 0) {
			t.Errorf("%s: sound %v with %d faults", f.Path, o.sound, len(f.Faults))
		}
		var faults []fault
		for _, want := range f.Faults {
			if strings.HasPrefix(want.Object, "ClusterNetworkPolicy ") {
				faults = append(faults, fault{want.Object, want.Path})
			}
		}
		if !slices.Equal(o.faults, faults) {
			t.Errorf("%s: faults\n got  %q\n want %q", f.Path, o.faults, faults)
		}
		for _, c := range f.Connections {
			if v := o.judge(c.Connection); v.want() != c.Want {
				t.Errorf("%s: %s\n got  %s\n want %s", c.Pos, c.Line, v.want(), c.Want)
			}
		}
	}
}

// Two evaluators with nothing in common agree on random connections in random clusters.
func TestOracleAgreesOnRandomClusters(t *testing.T) {
	clusters := 1_000_000 / pairsPerCluster
	if testing.Short() {
		clusters = 50_000 / pairsPerCluster
	}
	seen, start := tally{}, time.Now()
	for i := range clusters {
		g := random.New(*oracleSeed, uint64(i))
		objs := g.Objects()
		s, err := netpol.Compile(objs)
		o := newOracle(objs)
		if !o.agreesOnFaults(err) {
			t.Fatalf("seed %d cluster %d\n%s", *oracleSeed, i, faultDisagreement(t, objs))
		}
		seen.addFaults(o)
		if checkParts(t, objs, s, o); t.Failed() {
			t.Fatalf("seed %d cluster %d\n%s", *oracleSeed, i, dump(t, objs))
		}
		for range pairsPerCluster {
			c := g.Connection(objs)
			want := o.judge(c)
			if !want.agrees(s.Evaluate(c)) {
				t.Fatalf("seed %d cluster %d\n%s", *oracleSeed, i, disagreement(t, objs, c))
			}
			seen.add(&want)
			seen.addEnds(o, c)
		}
	}
	pairs := clusters * pairsPerCluster
	t.Logf("%d pairs, %.0f a second\n%v", pairs, float64(pairs)/time.Since(start).Seconds(), seen)
	seen.checkReach(t, pairs)
}

// agreesOnFaults: those of ClusterNetworkPolicies one by one, the others as a whole.
func (o *oracle) agreesOnFaults(err error) bool {
	var got []fault
	for _, e := range netpol.ObjectErrors(err) {
		if strings.HasPrefix(e.Object, "ClusterNetworkPolicy ") {
			got = append(got, fault{e.Object, e.Path})
		} else if got != nil {
			return false // those of NetworkPolicies come first
		}
	}
	return (err == nil) == o.sound && slices.Equal(got, o.faults)
}

// agrees compares without making text, because it is done a million times.
func (v *opinion) agrees(got netpol.Verdict) bool {
	if got.Allowed != v.allowed() || !v.egress.agrees(got.Egress) || !v.ingress.agrees(got.Ingress) {
		return false
	}
	none := types.NamespacedName{}
	if v.service == none || got.Resolved == nil {
		return v.service == none && got.Resolved == nil
	}
	return *got.Resolved == netpol.Resolution{Service: v.service, Port: v.port, Backend: v.backend, Source: v.source}
}

func (s *sideOpinion) agrees(got netpol.Decision) bool {
	if got.Allowed != s.allowed() || got.Reason != s.reason || got.Isolated != (s.by != nil) || !s.rule.agrees(got.Rule) || !s.passed.agrees(got.Passed) {
		return false
	}
	if s.reason != netpol.NoRule {
		return got.By == nil
	}
	return slices.EqualFunc(got.By, s.by, isPolicy)
}

func (a *author) agrees(got *netpol.Origin) bool {
	if got == nil || *a == (author{}) {
		return got == nil && *a == (author{})
	}
	return got.Kind == a.kind && got.Namespace == a.namespace && got.Name == a.name &&
		got.Direction.String() == string(a.direction) && got.Index == a.index && got.Rule == a.title
}

func isPolicy(o *netpol.Origin, np *networkingv1.NetworkPolicy) bool {
	return o.Kind == "NetworkPolicy" && o.Namespace == np.Namespace && o.Name == np.Name && o.Index == -1
}

// want is the opinion in the form of the corpus.
func (v *opinion) want() corpus.Want {
	w := corpus.Want{Allowed: v.allowed(), Egress: v.egress.want(), Ingress: v.ingress.want()}
	none := types.NamespacedName{}
	if v.service != none {
		w.Resolved = v.service.String()
	}
	if v.backend != none {
		w.Resolved += fmt.Sprintf(":%d@%s", v.port, v.backend)
	}
	if v.source.IsValid() {
		w.Resolved += "~" + v.source.String()
	}
	return w
}

func (s *sideOpinion) want() corpus.Side {
	var origins []string
	if s.rule.kind != "" {
		origins = append(origins, s.rule.String())
	}
	if s.reason == netpol.NoRule {
		for _, np := range s.by {
			origins = append(origins, fmt.Sprintf("NetworkPolicy %s/%s spec", np.Namespace, np.Name))
		}
	}
	if s.passed.kind != "" {
		origins = append(origins, "passed "+s.passed.String())
	}
	return corpus.Side{Reason: s.reason, Origins: strings.Join(origins, ", ")}
}

func (a *author) String() string {
	name := a.name
	if a.namespace != "" {
		name = a.namespace + "/" + a.name
	}
	return fmt.Sprintf("%s %s spec.%s[%d]", a.kind, name, strings.ToLower(string(a.direction)), a.index)
}
