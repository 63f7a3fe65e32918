// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PolicyDefinition is the CustomResourceDefinition of ClusterNetworkPolicies, in YAML, that the API's own module carries.
// The working directory must be in a module that requires it.
func PolicyDefinition(ctx context.Context) (string, error) {
	const module, file = "sigs.k8s.io/network-policy-api", "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml"
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", module, err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
	return string(text), err
}
