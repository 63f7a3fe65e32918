// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/node"
)

// metric reads one; labels are as they are printed, with braces.
func metric(t *testing.T, nameAndLabels string) (float64, error) {
	t.Helper()
	_, body, err := get("http://" + httpAddr + "/metrics")
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^bulkhead_enforcer_` + regexp.QuoteMeta(nameAndLabels) + ` (\S+)$`).FindStringSubmatch(body)
	if found == nil {
		return 0, fmt.Errorf("there is no %s in\n%s", nameAndLabels, body)
	}
	return strconv.ParseFloat(found[1], 64)
}

// becomes waits until a metric has a value.
func becomes(t *testing.T, nameAndLabels string, holds func(float64) bool) {
	t.Helper()
	eventually(t, nameAndLabels, func() error {
		value, err := metric(t, nameAndLabels)
		if err == nil && !holds(value) {
			err = fmt.Errorf("it is %g", value)
		}
		return err
	})
}

func TestMetricsOfEnforcement(t *testing.T) {
	const nodeName, ns = "node-counted", "counted"
	createNode(t, nodeName, node.Gateway4.String())
	createNamespace(t, ns, "enforce")
	a := node.NewPod(t, "vcounta", "10.99.23.2")
	b := node.NewPod(t, "vcountb", "10.99.23.3")
	createPod(t, nodeName, ns, "a", nil, a)
	createPod(t, nodeName, ns, "b", nil, b)
	echo(t, b, 80)
	apply(t, ns, denyAll(), allow("b", "b", "a", 80))
	start(t, nodeName, nil)
	for range 3 {
		if err := reach(a, b.Addrs[0], 80); err != nil {
			t.Fatal(err)
		}
	}
	if err := reach(a, b.Addrs[0], 81); !isDropped(err) {
		t.Fatalf("a to b: %v, want dropped", err)
	}
	// Each connection is judged at both ends: three times allowed at each, and the fourth at the client's.
	becomes(t, `connections_total{verdict="allowed"}`, func(n float64) bool { return n == 7 })
	becomes(t, `connections_total{verdict="denied"}`, func(n float64) bool { return n >= 1 })
	becomes(t, `map_fill_ratio{map="connections"}`, func(n float64) bool { return n > 0 && n < 0.001 })
	if r := currentReport(t); len(r.Maps) == 0 || r.Maps[0].Name != "connections" || r.Maps[0].Entries < 6 || r.Maps[0].Capacity == 0 {
		t.Errorf("maps %+v", r.Maps)
	}
	becomes(t, "self_test_passed", func(n float64) bool { return n == 1 })
	becomes(t, "generation_lag_seconds", func(n float64) bool { return n == 0 })
	now := float64(time.Now().Unix())
	becomes(t, "last_update_timestamp_seconds", func(n float64) bool { return n <= now+60 && n > now-60 })
	createPod(t, nodeName, ns, "lost", nil, node.Unconnected("vcountlost", "10.99.23.4"))
	becomes(t, "generation_lag_seconds", func(n float64) bool { return n > 0.3 })
	becomes(t, "ready", func(n float64) bool { return n == 0 })
}
