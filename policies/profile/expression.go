// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// expression is a label value of a template, read. The zero value is the empty value.
type expression struct {
	literal   string // the value itself, where it is no expression
	namespace bool   // $(namespace)
	label     string // KEY of $(labels['KEY'])
}

// parse reads a label value. An expression is the whole value, so that what it stands for is a valid
// label value whatever the namespace: names of namespaces and values of their labels are. A dollar sign
// outside of an expression is a mistake, because no label value contains one.
func parse(value string) (expression, error) {
	if !strings.Contains(value, "$") {
		return expression{literal: value}, nil
	}
	inner, ok := strings.CutPrefix(value, "$(")
	if !ok || strings.Contains(inner, "$") {
		return expression{}, errors.New("$(…) must be the whole value")
	}
	inner, ok = strings.CutSuffix(inner, ")")
	if !ok && strings.Contains(inner, ")") {
		return expression{}, errors.New("$(…) must be the whole value")
	}
	if !ok {
		return expression{}, errors.New("$( is not closed by )")
	}
	if inner == "namespace" {
		return expression{namespace: true}, nil
	}
	key, isLabel := strings.CutPrefix(inner, "labels['")
	key, isClosed := strings.CutSuffix(key, "']")
	if !isLabel || !isClosed {
		return expression{}, errors.New("it is neither $(namespace) nor $(labels['KEY'])")
	}
	if problems := validation.IsQualifiedName(key); problems != nil {
		return expression{}, fmt.Errorf("%q is not the key of a label: %s", key, strings.Join(problems, "; "))
	}
	return expression{label: key}, nil
}

// value is what the expression stands for in a namespace.
func (e expression) value(namespace *corev1.Namespace) (string, error) {
	switch {
	case e.namespace:
		return namespace.Name, nil
	case e.label == "":
		return e.literal, nil
	}
	value, ok := namespace.Labels[e.label]
	if !ok {
		return "", fmt.Errorf("namespace %s lacks label %s", namespace.Name, e.label)
	}
	return value, nil
}
