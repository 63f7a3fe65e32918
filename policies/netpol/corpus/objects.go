// SPDX-License-Identifier: Apache-2.0

package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// ParseObjects reads a YAML stream of Namespaces, Pods, Services, Nodes, NetworkPolicies and
// ClusterNetworkPolicies, without defaulting anything. A field or a kind that is not known is an error, so that a case cannot test
// nothing because of a slip.
func ParseObjects(data []byte) (netpol.Objects, error) {
	var objs netpol.Objects
	documents := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for i := 1; ; i++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err == nil {
			err = addObject(&objs, document)
		}
		if err != nil {
			return objs, fmt.Errorf("document %d: %w", i, err)
		}
	}
}

func addObject(objs *netpol.Objects, document []byte) error {
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(document, &head); err != nil {
		return err
	}
	switch head.APIVersion + " " + head.Kind {
	case "v1 Namespace":
		return decode(document, &objs.Namespaces, new(corev1.Namespace))
	case "v1 Pod":
		return decode(document, &objs.Pods, new(corev1.Pod))
	case "v1 Service":
		return decode(document, &objs.Services, new(corev1.Service))
	case "v1 Node":
		return decode(document, &objs.Nodes, new(corev1.Node))
	case "networking.k8s.io/v1 NetworkPolicy":
		return decode(document, &objs.Policies, new(networkingv1.NetworkPolicy))
	case "policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy":
		return decode(document, &objs.ClusterPolicies, new(policyv1alpha2.ClusterNetworkPolicy))
	}
	return fmt.Errorf("%q of apiVersion %q is none of Namespace, Pod, Service, Node, NetworkPolicy and ClusterNetworkPolicy", head.Kind, head.APIVersion)
}

func decode[T any](document []byte, list *[]*T, object *T) error {
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		return err
	}
	*list = append(*list, object)
	return nil
}
