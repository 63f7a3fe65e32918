// SPDX-License-Identifier: Apache-2.0

package register

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCRDs(t *testing.T) {
	crds, err := CRDs()
	if err != nil {
		t.Fatal(err)
	}
	keeps := map[string]bool{"profiles.bulkhead.dev": true, "bulkheads.bulkhead.dev": false}
	for _, crd := range crds {
		keep, ours := keeps[crd.GetName()]
		if !ours || stays(crd) != keep {
			t.Errorf("%s: ours %v, stays %v", describe(crd), ours, stays(crd))
		}
		delete(keeps, crd.GetName())
		for key, value := range partOf {
			if crd.GetLabels()[key] != value {
				t.Errorf("%s lacks label %s=%s", describe(crd), key, value)
			}
		}
		text, err := json.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "{{") {
			t.Errorf("%s has a template expression: Helm would read it", describe(crd))
		}
	}
	if len(keeps) > 0 {
		t.Errorf("missing: %v", keeps)
	}
}
