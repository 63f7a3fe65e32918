// SPDX-License-Identifier: Apache-2.0

// Package bulkhead embeds the part of the Helm chart that the binaries need as well: the admission
// objects and custom resource definitions, which the webhook applies by itself when it runs outside a
// cluster.
package bulkhead

import "embed"

// Admission holds admission/*.yaml: one object a file. The only template expression in them is
// {{ .Release.Namespace }}.
//
//go:embed admission/*.yaml
var Admission embed.FS

// CRDs holds crd/*.yaml: one CustomResourceDefinition a file, generated from policies/profile.
//
//go:embed crd/*.yaml
var CRDs embed.FS
