// SPDX-License-Identifier: Apache-2.0

package netpol_test

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

func TestSetDefaults(t *testing.T) {
	for _, row := range []struct{ given, want string }{
		{`{}`, `{podSelector: {}, policyTypes: [Ingress]}`},
		{`{egress: []}`, `{podSelector: {}, policyTypes: [Ingress]}`},
		{`{egress: [{}]}`, `{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{}]}`},
		{`{policyTypes: [Egress], ingress: [{}]}`, `{podSelector: {}, policyTypes: [Egress], ingress: [{}]}`},
		{`{ingress: [{ports: [{port: 80}, {port: 53, protocol: UDP}]}]}`, `{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 80, protocol: TCP}, {port: 53, protocol: UDP}]}]}`},
		{`{egress: [{ports: [{}]}]}`, `{podSelector: {}, policyTypes: [Ingress, Egress], egress: [{ports: [{protocol: TCP}]}]}`},
	} {
		var spec networkingv1.NetworkPolicySpec
		if err := yaml.UnmarshalStrict([]byte(row.given), &spec); err != nil {
			t.Fatalf("%s: %v", row.given, err)
		}
		netpol.SetDefaults(&spec)
		got, err := yaml.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		want, err := yaml.JSONToYAML([]byte(row.want))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s becomes\n%s, want\n%s", row.given, got, want)
		}
	}
}
