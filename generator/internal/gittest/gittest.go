// SPDX-License-Identifier: Apache-2.0

// Package gittest runs the git program in tests, so that what this project writes is read back by
// another implementation.
package gittest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Run runs git in the directory, as Kim and with nobody's configuration, and returns what it printed
// without surrounding space. The test ends when git fails.
func Run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=Kim", "GIT_AUTHOR_EMAIL=kim@example.com", "GIT_COMMITTER_NAME=Kim", "GIT_COMMITTER_EMAIL=kim@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
