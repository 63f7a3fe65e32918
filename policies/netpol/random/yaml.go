// SPDX-License-Identifier: Apache-2.0

package random

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// YAML is the objects as a stream of documents, which a case of the corpus can hold.
func YAML(objs netpol.Objects) (string, error) {
	var documents []string
	for _, object := range all(objs) {
		data, err := yaml.Marshal(object)
		if err != nil {
			return "", fmt.Errorf("write an object as YAML: %w", err)
		}
		documents = append(documents, string(data))
	}
	return strings.Join(documents, "---\n"), nil
}

// all are the objects in the order of their kinds.
func all(objs netpol.Objects) (list []any) {
	list = appendAll(list, objs.Namespaces)
	list = appendAll(list, objs.Nodes)
	list = appendAll(list, objs.Pods)
	list = appendAll(list, objs.Services)
	list = appendAll(list, objs.Policies)
	return appendAll(list, objs.ClusterPolicies)
}

func appendAll[T any](to []any, objects []T) []any {
	for _, o := range objects {
		to = append(to, o)
	}
	return to
}
