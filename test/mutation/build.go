// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bulkhead-dev/bulkhead/test/mutation/mutate"
)

// writeOverlay writes the rewritten sources to a folder, and the list by which the go command takes them in
// the place of the package's own. It returns the path of the list.
func writeOverlay(p *mutate.Package, folder string) (string, error) {
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for path, text := range p.Files {
		overlay.Replace[path] = filepath.Join(folder, filepath.Base(path))
		if err := os.WriteFile(overlay.Replace[path], text, 0o600); err != nil {
			return "", fmt.Errorf("write the rewritten source: %w", err)
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", fmt.Errorf("list the rewritten sources: %w", err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		return "", fmt.Errorf("list the rewritten sources: %w", err)
	}
	return path, nil
}

func goCommand(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %s: %w\n%s", args[0], args[len(args)-1], err, out)
	}
	return nil
}
