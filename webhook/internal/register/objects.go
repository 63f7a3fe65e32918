// SPDX-License-Identifier: Apache-2.0

// Package register puts the project's admission objects into a cluster and keeps their caBundle
// current.
//
// The objects are those of the Helm chart (charts/bulkhead/admission). Inside a cluster Helm owns
// them, and only the caBundle is written here. Outside, where the webhook is called by URL, they are
// applied at the start and deleted at the end by this package.
package register

import (
	"bytes"
	"fmt"
	"io/fs"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	chart "github.com/bulkhead-dev/bulkhead/charts/bulkhead"
)

// Objects returns the admission objects as the chart has them, in order of their file names,
// for a release in namespace.
func Objects(namespace string) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(chart.Admission, "admission/*.yaml")
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		object, err := render(name, namespace)
		if err != nil {
			return nil, fmt.Errorf("chart file %s: %w", name, err)
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func render(name, namespace string) (*unstructured.Unstructured, error) {
	source, err := fs.ReadFile(chart.Admission, name)
	if err != nil {
		return nil, err
	}
	parsed, err := template.New(name).Option("missingkey=error").Parse(string(source))
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	release := map[string]any{"Release": map[string]any{"Namespace": namespace}}
	if err := parsed.Execute(&text, release); err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(text.Bytes(), &object.Object); err != nil {
		return nil, err
	}
	return object, nil
}

// byURL replaces the Service in a webhook configuration by a URL and adds the caBundle. Objects that
// call no webhook are left as they are.
func byURL(object *unstructured.Unstructured, url, caBundle string) error {
	webhooks, found, err := unstructured.NestedSlice(object.Object, "webhooks")
	if err != nil || !found {
		return err
	}
	for _, w := range webhooks {
		config, _, err := unstructured.NestedMap(w.(map[string]any), "clientConfig")
		if err != nil {
			return err
		}
		path, _, err := unstructured.NestedString(config, "service", "path")
		if err != nil {
			return err
		}
		w.(map[string]any)["clientConfig"] = map[string]any{"url": url + path, "caBundle": caBundle}
	}
	return unstructured.SetNestedSlice(object.Object, webhooks, "webhooks")
}
