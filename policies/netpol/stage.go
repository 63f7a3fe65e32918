// SPDX-License-Identifier: Apache-2.0

package netpol

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// AnnotationStaged with the value "true" makes a NetworkPolicy or ClusterNetworkPolicy a staged one: it takes no part
// in any verdict, and a Stage says what would be if it did.
const AnnotationStaged = "bulkhead.dev/staged"

// IsStaged says whether a policy is only staged.
func IsStaged(policy metav1.Object) bool { return policy.GetAnnotations()[AnnotationStaged] == "true" }

// Stage holds staged policies, compiled. The zero Stage is empty.
type Stage struct {
	policies map[Key]*policy
	cluster  map[Key]*clusterPolicy
}

// IsEmpty says whether there is nothing that would change a verdict.
func (s *Stage) IsEmpty() bool { return len(s.policies)+len(s.cluster) == 0 }

// Set adds a policy if it is staged, in place of the one of its name, and else takes that away. It returns the
// faults of a staged one, which do what they would do in a live one.
func (s *Stage) Set(np *networkingv1.NetworkPolicy) []*ObjectError {
	k := Key{Kind: kindPolicy, Namespace: np.Namespace, Name: np.Name}
	s.Delete(k)
	if !IsStaged(np) {
		return nil
	}
	if s.policies == nil {
		s.policies = make(map[Key]*policy)
	}
	p, faults := compilePolicy(np)
	s.policies[k] = p
	return faults
}

// SetCluster is Set for a ClusterNetworkPolicy.
func (s *Stage) SetCluster(cnp *policyv1alpha2.ClusterNetworkPolicy) []*ObjectError {
	k := Key{Kind: kindClusterPolicy, Name: cnp.Name}
	s.Delete(k)
	if !IsStaged(cnp) {
		return nil
	}
	if s.cluster == nil {
		s.cluster = make(map[Key]*clusterPolicy)
	}
	p, faults := compileClusterPolicy(cnp)
	if p != nil {
		s.cluster[k] = p
	}
	return faults
}

// Delete takes a policy away; one that is not there is not missed.
func (s *Stage) Delete(k Key) {
	delete(s.policies, k)
	delete(s.cluster, k)
}

// On is the snapshot with the staged policies as if they were live. What is the same in both, they share.
func (s *Stage) On(live *Snapshot) *Snapshot {
	b := newBuilder(live, &Objects{})
	for k, p := range s.policies {
		c := b.in(k.Namespace)
		c.policies = append(c.policies, entry[*policy]{k.Name, p})
	}
	for k, p := range s.cluster {
		b.cluster = append(b.cluster, entry[*clusterPolicy]{k.Name, p})
	}
	return b.build()
}
