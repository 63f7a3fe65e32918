// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

// kinds that are read, and the one version of each that is served by every supported Kubernetes.
var kinds = map[string]schema.GroupVersion{
	"Namespace": corev1.SchemeGroupVersion, "Node": corev1.SchemeGroupVersion,
	"Endpoints": corev1.SchemeGroupVersion, "EndpointSlice": discoveryv1.SchemeGroupVersion,
	"Pod": corev1.SchemeGroupVersion, "Service": corev1.SchemeGroupVersion, "ReplicationController": corev1.SchemeGroupVersion,
	"Deployment": appsv1.SchemeGroupVersion, "StatefulSet": appsv1.SchemeGroupVersion,
	"DaemonSet": appsv1.SchemeGroupVersion, "ReplicaSet": appsv1.SchemeGroupVersion,
	"Job": batchv1.SchemeGroupVersion, "CronJob": batchv1.SchemeGroupVersion,
	"NetworkPolicy":        networkingv1.SchemeGroupVersion,
	"ClusterNetworkPolicy": {Group: policyv1alpha2.GroupName, Version: "v1alpha2"},
}

var clusterScoped = map[string]bool{"Namespace": true, "Node": true, "ClusterNetworkPolicy": true}

// ours are the groups in which a kind of a known name is meant to be that kind. Elsewhere it is
// another one, such as Knative's Service.
var ours = map[string]bool{
	"": true, "apps": true, "batch": true, "extensions": true, discoveryv1.GroupName: true,
	networkingv1.GroupName: true, policyv1alpha2.GroupName: true,
}

// replaced are kinds that are gone, with what they became.
var replaced = map[string]string{
	"AdminNetworkPolicy":         "convert it to a ClusterNetworkPolicy of " + policyv1alpha2.GroupName + "/v1alpha2 with spec.tier Admin",
	"BaselineAdminNetworkPolicy": "convert it to a ClusterNetworkPolicy of " + policyv1alpha2.GroupName + "/v1alpha2 with spec.tier Baseline",
}

// reads reports whether objects of the kind are read. The error says that they would be, in
// another version.
func reads(gvk schema.GroupVersionKind) (bool, error) {
	if !ours[gvk.Group] {
		return false, nil
	}
	if instead, ok := replaced[gvk.Kind]; ok {
		return false, fmt.Errorf("apiVersion %s: %s", gvk.GroupVersion(), instead)
	}
	want, ok := kinds[gvk.Kind]
	if ok && want != gvk.GroupVersion() {
		return false, fmt.Errorf("apiVersion %s is not read; use %s", shorten(gvk.GroupVersion().String()), want)
	}
	return ok, nil
}

// isPolicy guesses whether a kind that is not read decides over connections all the same.
func isPolicy(gk schema.GroupKind) bool {
	return strings.HasSuffix(gk.Kind, "NetworkPolicy") || strings.HasSuffix(gk.Kind, "NetworkPolicySet")
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, policyv1alpha2.Install,
	} {
		utilruntime.Must(add(s))
	}
	return s
}()
