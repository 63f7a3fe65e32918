// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writable errs unless a file can be made in dir, by making one: what comes of long work should not
// find out at its end that it has no place.
func writable(flag, dir string) error {
	probe, err := os.CreateTemp(dir, ".bulkhead-")
	if err == nil {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		return fmt.Errorf("--%s: no file can be made in %s: %w", flag, dir, err)
	}
	return nil
}

// writableFile errs unless file can be written, or written over.
func writableFile(flag, file string) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--%s %s: it is there and is not a regular file", flag, file)
	}
	return writable(flag, filepath.Dir(file))
}
