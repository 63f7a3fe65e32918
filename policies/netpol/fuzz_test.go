// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// Bounds of one fuzz input, so that an execution stays in the millisecond range.
const (
	maxFuzzBytes   = 32 << 10
	maxFuzzPeers   = 6
	maxFuzzObjects = 24 // for the oracle, which looks at all of them for each question
)

// FuzzCompileEvaluate feeds arbitrary objects through the whole package. Nothing may panic, every
// verdict must agree with its own parts and be the same when asked again, and where the objects are
// sound and have names of their own, it must be the oracle's. Give go test -fuzzminimizetime=10x: to
// shorten long YAML takes more time than to find it.
func FuzzCompileEvaluate(f *testing.F) {
	for _, file := range loadCorpus(f) {
		f.Add(file.YAML, uint16(80))
	}
	f.Fuzz(func(t *testing.T, data []byte, port uint16) {
		if len(data) > maxFuzzBytes {
			return
		}
		objs, err := corpus.ParseObjects(data)
		if err != nil {
			return
		}
		s, err := netpol.Compile(objs)
		checkErrors(t, objs, err)
		checkViews(t, objs)
		again, _ := netpol.Compile(objs)
		o, peers := fuzzOracle(objs, err), fuzzPeers(objs)
		for _, from := range peers {
			checkRuleSets(t, s, from.Pod)
			for _, to := range peers {
				for _, protocol := range []corev1.Protocol{"", corev1.ProtocolUDP, corev1.ProtocolSCTP} {
					c := netpol.Connection{From: from, To: to, Protocol: protocol, Port: port}
					checkVerdict(t, s, c)
					if got := s.Evaluate(c); !reflect.DeepEqual(got, again.Evaluate(c)) || o != nil && !o.agreesOn(c, got) {
						t.Fatalf("%+v: %+v, asked again %+v, the oracle says otherwise: %v", c, got, again.Evaluate(c), o != nil && !o.agreesOn(c, got))
					}
				}
			}
		}
	})
}

// fuzzOracle is nil where the oracle has nothing to say.
func fuzzOracle(objs netpol.Objects, err error) *oracle {
	keys := random.Keys(objs)
	if err != nil || len(keys) > maxFuzzObjects || len(random.Keys(random.Unique(objs))) != len(keys) {
		return nil
	}
	for _, k := range keys {
		if k.Name == "" {
			return nil // no pod and no Service can be asked for by such a name
		}
	}
	return newOracle(objs)
}

func (o *oracle) agreesOn(c netpol.Connection, got netpol.Verdict) bool {
	want := o.judge(c)
	return want.agrees(got)
}

// fuzzPeers are all forms of the first pods, Services and nodes, and addresses nobody owns.
func fuzzPeers(objs netpol.Objects) []netpol.Peer {
	peers := []netpol.Peer{
		{},
		{Pod: types.NamespacedName{Namespace: "no", Name: "pod"}},
		{Service: types.NamespacedName{Namespace: "no", Name: "service"}},
		{Addr: netip.MustParseAddr("192.0.2.1")},
		{Addr: netip.MustParseAddr("2001:db8::1")},
	}
	for _, p := range objs.Pods[:min(len(objs.Pods), maxFuzzPeers)] {
		addr, _ := netip.ParseAddr(p.Status.PodIP)
		name := types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
		peers = append(peers, netpol.Peer{Pod: name}, netpol.Peer{Addr: addr}, netpol.Peer{Pod: name, Addr: addr})
	}
	for _, svc := range objs.Services[:min(len(objs.Services), maxFuzzPeers)] {
		peers = append(peers, netpol.Peer{Service: nameOfService(svc)})
		for _, ip := range append(clusterAddresses(svc), externalAddresses(svc)...) {
			addr, _ := netip.AddrFromSlice(ip)
			peers = append(peers, netpol.Peer{Addr: addr})
		}
	}
	for _, n := range objs.Nodes[:min(len(objs.Nodes), maxFuzzPeers)] {
		for _, ip := range nodeAddresses(n) {
			addr, _ := netip.AddrFromSlice(ip)
			peers = append(peers, netpol.Peer{Addr: addr})
		}
	}
	return peers[:min(len(peers), 6*maxFuzzPeers)]
}

func checkErrors(t *testing.T, objs netpol.Objects, err error) {
	t.Helper()
	faults := netpol.ObjectErrors(err)
	if (err == nil) != (len(faults) == 0) {
		t.Errorf("error %v has %d faults", err, len(faults))
	}
	for _, np := range objs.Policies {
		if !netpol.IsStaged(np) && len(netpol.Validate(np)) > len(faults) {
			t.Errorf("Compile reports %d faults, Validate more of policy %s/%s alone", len(faults), np.Namespace, np.Name)
		}
	}
}

func checkViews(t *testing.T, objs netpol.Objects) {
	t.Helper()
	for _, np := range objs.Policies {
		v := netpol.View(np)
		if _, err := json.Marshal(v); err != nil {
			t.Errorf("view of %s/%s: %v", np.Namespace, np.Name, err)
		}
		for _, r := range v.Allows {
			if given := rulePeers(np, r); r.Everyone != (given == 0) {
				t.Errorf("%s: everyone is %v with %d peers given", r.Path, r.Everyone, given)
			}
		}
	}
}

func checkRuleSets(t *testing.T, s *netpol.Snapshot, name types.NamespacedName) {
	t.Helper()
	for _, d := range []netpol.Direction{netpol.Ingress, netpol.Egress} {
		set := s.RuleSet(name, d)
		if set.Isolated != (len(set.By) > 0) || !set.Isolated && len(set.Tiers[netpol.NetworkPolicies]) > 0 {
			t.Errorf("%s %s: isolated %v by %d policies with %d rules", name, d, set.Isolated, len(set.By), len(set.Tiers[netpol.NetworkPolicies]))
		}
		for _, r := range set.Tiers[netpol.NetworkPolicies] {
			if r.Origin.Direction != d || r.Origin.Namespace != name.Namespace {
				t.Errorf("%s %s is governed by %s (%s)", name, d, &r.Origin, r.Origin.Direction)
			}
		}
	}
}

func checkVerdict(t *testing.T, s *netpol.Snapshot, c netpol.Connection) {
	t.Helper()
	v := s.Evaluate(c)
	if v.Allowed != (v.Egress.Allowed && v.Ingress.Allowed) {
		t.Errorf("%+v: allowed %v with sides %+v and %+v", c, v.Allowed, v.Egress, v.Ingress)
	}
	for _, d := range []netpol.Decision{v.Egress, v.Ingress} {
		checkDecision(t, c, d)
	}
	if _, decider := v.Decider(); decider.Allowed != v.Allowed {
		t.Errorf("%+v: the decider says %v", c, decider.Allowed)
	}
}

func checkDecision(t *testing.T, c netpol.Connection, d netpol.Decision) {
	t.Helper()
	byRule := d.Reason == netpol.RuleMatched || d.Reason == netpol.RuleDenied
	byTier := byRule || d.Reason == netpol.NoRule || d.Reason == netpol.NotIsolated
	if (d.Rule != nil) != byRule || (len(d.By) > 0) != (d.Reason == netpol.NoRule) || d.Passed != nil && !byTier {
		t.Errorf("%+v: reason and origins disagree: %+v", c, d)
	}
	denies := d.Reason == netpol.RuleDenied || d.Reason == netpol.NoRule || d.Reason == netpol.UnknownPod || d.Reason == netpol.UnknownBackend
	must := d.Reason == netpol.NoRule || d.Rule != nil && d.Rule.Kind == "NetworkPolicy"
	may := must || byRule || d.Reason == netpol.OwnNode
	if d.Allowed == denies || d.Isolated && !may || !d.Isolated && must {
		t.Errorf("%+v: reason and flags disagree: %+v", c, d)
	}
}
