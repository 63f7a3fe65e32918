// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"
)

// register makes the Node objects, which their kubelets then take over: so it is known from the beginning which
// node has which range of pods.
func (c *Cluster) register(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Admin())
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		object := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{corev1.LabelHostname: n.Name}},
			Spec:       corev1.NodeSpec{PodCIDR: n.Pods[0].String()},
		}
		for _, pods := range n.Pods {
			object.Spec.PodCIDRs = append(object.Spec.PodCIDRs, pods.String())
		}
		if _, err := client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("register %s: %w", n.Name, err)
		}
	}
	return nil
}

func (c *Cluster) startDNS(ctx context.Context) error {
	objects, err := render("coredns.yaml", map[string]any{"Image": corednsImage, "Address": c.Nodes[0].families[0].dns()})
	if err != nil {
		return err
	}
	return c.Apply(ctx, objects)
}

// Apply applies the objects of a YAML stream, in their order, on the server's side.
func (c *Cluster) Apply(ctx context.Context, objects []byte) error {
	client, err := dynamic.NewForConfig(c.Admin())
	if err != nil {
		return err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(c.Admin())
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(objects), 4096)
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read objects to apply: %w", err)
		}
		if len(object.Object) == 0 {
			continue // nothing between two separators
		}
		if err := applyOne(ctx, client, mapper, &object); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

func applyOne(ctx context.Context, client dynamic.Interface, mapper *restmapper.DeferredDiscoveryRESTMapper, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(schema.GroupKind{Group: kind.Group, Kind: kind.Kind}, kind.Version)
	if err != nil {
		return err
	}
	options := metav1.ApplyOptions{FieldManager: "bulkhead-test", Force: true}
	_, err = client.Resource(mapping.Resource).Namespace(object.GetNamespace()).Apply(ctx, object.GetName(), object, options)
	return err
}

// awaitNodes returns when every node and the DNS say that they are ready.
func (c *Cluster) awaitNodes(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Admin())
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		err := await(ctx, n.Name, n.daemons["kubelet"], func(ctx context.Context) error { return nodeReady(ctx, client, n.Name) })
		if err != nil {
			return err
		}
	}
	return await(ctx, "DNS", c.Nodes[0].daemons["kubelet"], func(ctx context.Context) error { return dnsReady(ctx, client) })
}

func nodeReady(ctx context.Context, client kubernetes.Interface, name string) error {
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			return nil
		}
		return fmt.Errorf("node %s is not ready: %s", name, condition.Message)
	}
	return fmt.Errorf("node %s has not said whether it is ready", name)
}

func dnsReady(ctx context.Context, client kubernetes.Interface) error {
	deployment, err := client.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if deployment.Status.ReadyReplicas == 0 {
		return fmt.Errorf("deployment kube-system/coredns: no pod is ready")
	}
	return nil
}
