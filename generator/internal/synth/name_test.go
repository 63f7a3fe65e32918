// SPDX-License-Identifier: Apache-2.0

package synth

import (
	"testing"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/evidence"
)

// TestPolicyNames: no two workloads have policies of one name, whatever they are called.
func TestPolicyNames(t *testing.T) {
	want := map[edge.Endpoint]string{
		{Kind: "Deployment", Name: "api"}:                      "api",
		{Kind: "Deployment", Name: "plan"}:                     "plan-deployment",
		{Kind: "Deployment", Name: "a"}:                        "a-deployment-deployment",
		{Kind: "StatefulSet", Name: "a"}:                       "a-statefulset",
		{Kind: "DaemonSet", Name: "a-deployment"}:              "a-deployment",
		{Kind: "Deployment", Name: "b"}:                        "b-deployment-deployment-deployment",
		{Kind: "CronJob", Name: "b"}:                           "b-cronjob",
		{Kind: "CronJob", Name: "b-deployment"}:                "b-deployment",
		{Kind: "StatefulSet", Name: "b-deployment-deployment"}: "b-deployment-deployment",
	}
	sides := map[edge.Endpoint]*[2][]evidence.Connection{}
	for e := range want {
		sides[e] = nil
	}
	for e, name := range policyNames(sides) {
		if name != want[e] {
			t.Errorf("%s: %s, want %s", e, name, want[e])
		}
	}
}
