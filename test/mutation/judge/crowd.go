// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
)

// crowded is how many namespaces, pods and Services a crowd has: enough for what holds them to grow once.
const crowded = 140

// checkCrowd holds the file against a snapshot in which a crowd comes and goes. Nobody in it has an address or
// a name that the corpus uses.
func checkCrowd(f *corpus.File) error {
	var crowd netpol.Objects
	var keys []netpol.Key
	for i := range crowded {
		meta := metav1.ObjectMeta{Namespace: fmt.Sprintf("crowd-%d", i), Name: "one"}
		crowd.Pods = append(crowd.Pods, &corev1.Pod{ObjectMeta: meta, Status: corev1.PodStatus{PodIP: fmt.Sprintf("100::1:%x", i)}})
		crowd.Services = append(crowd.Services, &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("100::2:%x", i)}})
		for _, kind := range []string{"Pod", "Service"} {
			keys = append(keys, netpol.Key{Kind: kind, Namespace: meta.Namespace, Name: meta.Name})
		}
	}
	s, _ := netpol.Compile(f.Objects)
	among, _ := s.Apply(netpol.Change{Set: crowd})
	one := among
	for i := range crowded / 4 {
		one, _ = one.Apply(netpol.Change{Deleted: keys[i : i+1]})
	}
	alone, _ := one.Apply(netpol.Change{Deleted: keys})
	others := f.Objects
	others.ClusterPolicies = nil
	later, _ := netpol.Compile(crowd)
	later, _ = later.Apply(netpol.Change{Set: others})
	later, _ = later.Apply(netpol.Change{Set: netpol.Objects{ClusterPolicies: f.Objects.ClusterPolicies}})
	for _, s := range []*netpol.Snapshot{among, one, alone, later} {
		if err := checkVerdicts(f, s); err != nil {
			return fmt.Errorf("in a crowd: %w", err)
		}
	}
	return nil
}
