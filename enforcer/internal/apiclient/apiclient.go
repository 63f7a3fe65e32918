// SPDX-License-Identifier: Apache-2.0

// Package apiclient makes clients that know the few kinds of objects that the enforcer reads and writes. client-go's
// clientsets know all kinds of all groups: on every node, that is memory for code and tables that nobody asks for.
package apiclient

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
)

// Scheme has the kinds of the groups that New knows.
var Scheme = newScheme()

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(s))
	utilruntime.Must(networkingv1.AddToScheme(s))
	return s
}

// New returns a client for the kinds of a group that is in Scheme.
func New(config *rest.Config, of schema.GroupVersion) (*rest.RESTClient, error) {
	c := rest.CopyConfig(config)
	c.GroupVersion, c.APIPath = &of, "/apis"
	if of.Group == corev1.GroupName {
		c.APIPath = "/api"
	}
	c.NegotiatedSerializer = serializer.NewCodecFactory(Scheme).WithoutConversion()
	c.AcceptContentTypes, c.ContentType = runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON, runtime.ContentTypeProtobuf
	client, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s of the API server at %s: %w", of, config.Host, err)
	}
	return client, nil
}
