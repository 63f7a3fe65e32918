// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"net/netip"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/random"
)

// What a stage says with some policies of a random cluster staged is what is said with all of them live; and what is
// live says what it says without them.
func TestStageAgreesWithCompile(t *testing.T) {
	staged := 0
	for i := range 300 {
		g := random.New(*oracleSeed, uint64(i))
		all := random.Unique(g.Objects())
		live, marked := all, all
		live.Policies, live.ClusterPolicies, marked.Policies, marked.ClusterPolicies = nil, nil, nil, nil
		var stage netpol.Stage
		for n, p := range all.Policies {
			if n%2 == 0 {
				live.Policies, marked.Policies = append(live.Policies, p), append(marked.Policies, p)
				continue
			}
			p = p.DeepCopy()
			p.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
			marked.Policies = append(marked.Policies, p)
			stage.Set(p)
			staged++
		}
		for n, p := range all.ClusterPolicies {
			if n%2 == 0 {
				live.ClusterPolicies, marked.ClusterPolicies = append(live.ClusterPolicies, p), append(marked.ClusterPolicies, p)
				continue
			}
			p = p.DeepCopy()
			p.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
			marked.ClusterPolicies = append(marked.ClusterPolicies, p)
			stage.SetCluster(p)
			staged++
		}
		withAll, _ := netpol.Compile(all)
		withLive, _ := netpol.Compile(live)
		withMarked, _ := netpol.Compile(marked)
		for range 40 {
			c := g.Connection(all)
			if got, want := withMarked.Evaluate(c), withLive.Evaluate(c); got.Allowed != want.Allowed {
				t.Fatalf("seed %d cluster %d: %+v is %v, and %v without the staged policies", *oracleSeed, i, c, got, want)
			}
			if got, want := stage.On(withMarked).Evaluate(c), withAll.Evaluate(c); got.Allowed != want.Allowed {
				t.Fatalf("seed %d cluster %d: %+v is staged to be %v, and is %v with all policies live", *oracleSeed, i, c, got, want)
			}
		}
	}
	if staged < 300 {
		t.Errorf("only %d policies were staged", staged)
	}
}

// Policies come to the stage, and leave it.
func TestStageChanges(t *testing.T) {
	var stage netpol.Stage
	np, cnp := new(networkingv1.NetworkPolicy), new(policyv1alpha2.ClusterNetworkPolicy)
	np.Namespace, np.Name, cnp.Name = "shop", "p", "p"
	cnp.Spec.Tier = policyv1alpha2.AdminTier
	cnp.Spec.Subject.Namespaces = new(metav1.LabelSelector)
	if stage.Set(np); !stage.IsEmpty() {
		t.Error("a live policy is on the stage")
	}
	np.Annotations = map[string]string{netpol.AnnotationStaged: "true"}
	cnp.Annotations = np.Annotations
	stage.SetCluster(cnp)
	if faults := stage.Set(np); stage.IsEmpty() || len(faults) != 0 {
		t.Errorf("faults %v", faults)
	}
	stage.Delete(netpol.Key{Kind: "ClusterNetworkPolicy", Name: "p"})
	np = np.DeepCopy()
	np.Annotations = nil
	if stage.Set(np); !stage.IsEmpty() {
		t.Error("a policy that went live stays on the stage")
	}
	s := new(netpol.Snapshot)
	if e := stage.On(s).EndpointAt(netip.MustParseAddr("10.0.0.1")); e.IsKnown() {
		t.Errorf("%v is known", e)
	}
}
