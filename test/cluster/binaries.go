// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are this project's binaries and the folders that they are built from.
var programs = map[string]string{"bulkhead": "generator", "bulkhead-webhook": "webhook", "bulkhead-enforcer": "enforcer"}

// Build builds this project's binaries as they are now into the directory. It
// must be called from inside the repository.
func Build(ctx context.Context, dir string) error {
	root, err := repositoryRoot()
	if err != nil {
		return err
	}
	for name, folder := range programs {
		if err := goBuild(ctx, root, "./"+folder, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// goBuild builds a package of the main module.
func goBuild(ctx context.Context, root, pkg, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", to, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // images have no libraries
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(to), err, out)
	}
	return nil
}
