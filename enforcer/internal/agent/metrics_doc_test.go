// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The page lists the metrics that there are, with their labels.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/enforcer.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "### Metrics\n")
	section, _, _ = strings.Cut(section, "\n#")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+(?:\\{[a-z,]+\\})?)` \\|").FindAllStringSubmatch(section, -1) {
		documented = append(documented, row[1])
	}
	slices.Sort(documented)
	if served := described(t); !found || len(served) < 15 || !slices.Equal(documented, served) {
		t.Errorf("the page has\n%q\nserved are\n%q", documented, served)
	}
}

// described are the enforcer's own metrics as the page writes them, sorted.
func described(t *testing.T) (all []string) {
	t.Helper()
	registry := newMetrics().registry
	registry.MustRegister(sampled{}, runtimeMetrics{}, answers{}, nameMetrics{})
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	form := regexp.MustCompile(`fqName: "` + prefix + `([a-z_]+)".*variableLabels: \{([a-z,]*)\}`)
	for d := range descriptions {
		if parts := form.FindStringSubmatch(d.String()); parts != nil {
			name := parts[1]
			if parts[2] != "" {
				name += "{" + parts[2] + "}"
			}
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
