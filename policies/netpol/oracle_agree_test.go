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

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

var oracleSeed = flag.Uint64("oracle.seed", 1, "seed of the random clusters that evaluator and oracle must agree on")

// pairsPerCluster connections are judged in each random cluster.
const pairsPerCluster = 200

// The oracle itself is held to the corpus.
func TestOracleAgreesWithCorpus(t *testing.T) {
	for _, f := range loadCorpus(t) {
		o := newOracle(f.Objects)
		if o.sound != (len(f.Faults) == 0) {
			t.Errorf("%s: sound %v with %d faults", f.Path, o.sound, len(f.Faults))
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
		g := newGenerator(*oracleSeed, uint64(i))
		objs := g.objects()
		s, err := netpol.Compile(objs)
		o := newOracle(objs)
		if (err == nil) != o.sound {
			t.Fatalf("seed %d cluster %d: the oracle says sound: %v; Compile: %v\n%s", *oracleSeed, i, o.sound, err, dump(t, objs))
		}
		if checkParts(t, objs, s, o); t.Failed() {
			t.Fatalf("seed %d cluster %d\n%s", *oracleSeed, i, dump(t, objs))
		}
		for range pairsPerCluster {
			c := g.connection(objs)
			want := o.judge(c)
			if !want.agrees(s.Evaluate(c)) {
				t.Fatalf("seed %d cluster %d\n%s", *oracleSeed, i, disagreement(t, objs, c))
			}
			seen.add(&want)
		}
	}
	pairs := clusters * pairsPerCluster
	t.Logf("%d pairs, %.0f a second\n%v", pairs, float64(pairs)/time.Since(start).Seconds(), seen)
	seen.checkReach(t, pairs)
}

// tally counts what the generator has reached, by side and reason.
type tally map[string]int

func (n tally) add(v *opinion) {
	n["egress "+string(v.egress.reason)]++
	n["ingress "+string(v.ingress.reason)]++
	if v.backend != nil {
		n["backend"]++
	}
	if v.allowed() {
		n["allowed"]++
	}
}

// checkReach: a generator that no longer reaches a reason proves nothing about it.
func (n tally) checkReach(t *testing.T, pairs int) {
	t.Helper()
	want := []string{"backend", "allowed", "ingress " + string(netpol.OwnNode)}
	for _, r := range []netpol.Reason{
		netpol.RuleMatched, netpol.NoRule, netpol.NotIsolated, netpol.NotAPod, netpol.SamePod, netpol.UnknownPod, netpol.UnknownBackend,
	} {
		want = append(want, "egress "+string(r), "ingress "+string(r))
	}
	for _, what := range want {
		if n[what] < pairs/250 {
			t.Errorf("%s: only %d of %d pairs", what, n[what], pairs)
		}
	}
}

// agrees compares without making text, because it is done a million times.
func (v *opinion) agrees(got netpol.Verdict) bool {
	if got.Allowed != v.allowed() || !v.egress.agrees(got.Egress, netpol.Egress) || !v.ingress.agrees(got.Ingress, netpol.Ingress) {
		return false
	}
	if v.service == nil || got.Resolved == nil {
		return v.service == nil && got.Resolved == nil
	}
	r := got.Resolved
	if r.Service.Namespace != v.service.Namespace || r.Service.Name != v.service.Name || r.Port != v.port {
		return false
	}
	return v.backend == nil && r.Backend.Name == "" || v.backend != nil && r.Backend == nameOf(v.backend)
}

func (s *sideOpinion) agrees(got netpol.Decision, d netpol.Direction) bool {
	if got.Allowed != s.allowed() || got.Reason != s.reason || got.Isolated != (s.by != nil) || (got.Rule != nil) != (s.rule != nil) {
		return false
	}
	if s.rule != nil && !isOrigin(got.Rule, s.rule, d, s.index) {
		return false
	}
	if s.reason != netpol.NoRule {
		return got.By == nil
	}
	return slices.EqualFunc(got.By, s.by, func(o *netpol.Origin, np *networkingv1.NetworkPolicy) bool { return isOrigin(o, np, d, -1) })
}

func isOrigin(o *netpol.Origin, np *networkingv1.NetworkPolicy, d netpol.Direction, index int) bool {
	return o.Kind == "NetworkPolicy" && o.Namespace == np.Namespace && o.Name == np.Name && o.Direction == d && o.Index == index
}

// want is the opinion in the form of the corpus.
func (v *opinion) want() corpus.Want {
	w := corpus.Want{Allowed: v.allowed(), Egress: v.egress.want("egress"), Ingress: v.ingress.want("ingress")}
	if v.service != nil {
		w.Resolved = v.service.Namespace + "/" + v.service.Name
	}
	if v.backend != nil {
		w.Resolved += fmt.Sprintf(":%d@%s", v.port, nameOf(v.backend))
	}
	return w
}

func (s *sideOpinion) want(field string) corpus.Side {
	var origins []string
	if s.rule != nil {
		origins = []string{fmt.Sprintf("NetworkPolicy %s/%s spec.%s[%d]", s.rule.Namespace, s.rule.Name, field, s.index)}
	}
	if s.reason == netpol.NoRule {
		for _, np := range s.by {
			origins = append(origins, fmt.Sprintf("NetworkPolicy %s/%s spec", np.Namespace, np.Name))
		}
	}
	return corpus.Side{Reason: s.reason, Origins: strings.Join(origins, ", ")}
}
