// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// equivalent is the reason why nothing can observe a mutant, by the mutant's key.
type equivalent map[string]string

// readEquivalent reads a list of "<function>: <original> => <mutated> -- <reason>", one a line. Blank
// lines and lines that start with # mean nothing.
func readEquivalent(path string) (equivalent, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the equivalent mutants: %w", err)
	}
	list := make(equivalent)
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, _ := strings.Cut(line, " -- ")
		if strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: write the reason after the mutant: %s -- why nothing can observe it", path, i+1, key)
		}
		if list[key] != "" {
			return nil, fmt.Errorf("%s:%d: %s is listed twice", path, i+1, key)
		}
		list[key] = reason
	}
	return list, nil
}

// compare says what is wrong with the list, or with the corpus, after a run.
func (known equivalent) compare(r result) (problems []error) {
	live, gone := make(map[string]bool), []string(nil)
	for _, v := range r.verdicts {
		if v.held() {
			continue
		}
		live[v.Key()] = true
		if known[v.Key()] == "" {
			problems = append(problems, fmt.Errorf("%s:%d: nothing notices %s", v.File, v.Line, v.Key()))
		}
	}
	for key := range known {
		if !live[key] {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	for _, key := range gone {
		problems = append(problems, fmt.Errorf("listed as equivalent, but killed or gone: remove %s", key))
	}
	for _, name := range r.unmutated {
		problems = append(problems, fmt.Errorf("%s has a condition, and nothing in it is mutated", name))
	}
	return problems
}
