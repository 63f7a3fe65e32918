// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// ReadPolicies returns all NetworkPolicies in the YAML files below a folder. It is an error if there are none.
func ReadPolicies(dir string) (all []*networkingv1.NetworkPolicy, err error) {
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(data), "\n---\n") {
			p := &networkingv1.NetworkPolicy{}
			if err := yaml.Unmarshal([]byte(document), p); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if p.Kind == "NetworkPolicy" {
				all = append(all, p)
			}
		}
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no policies below %s", dir)
	}
	return all, err
}
