// SPDX-License-Identifier: Apache-2.0

// The judge holds mutants of policies/netpol to the corpus: see package mutant. Its argument is the
// folder of the corpus.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-dev/bulkhead/policies/netpol"
	"github.com/bulkhead-dev/bulkhead/policies/netpol/corpus"
	"github.com/bulkhead-dev/bulkhead/test/mutation/mutant"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge FOLDER-OF-THE-CORPUS; go run ./test/mutation starts it")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(folder string) error {
	files, err := corpus.Load(folder)
	if err != nil {
		return err
	}
	var cases []mutant.Case
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f.Path), ".txtar")
		cases = append(cases,
			mutant.Case{Name: name, Check: func() error { return checkCompiled(f) }},
			mutant.Case{Name: name + " by changes", Check: func() error { return checkChanges(f) }},
			mutant.Case{Name: name + " as sets of ports", Check: func() error { return checkAllowed(f) }})
		if len(f.Objects.ClusterPolicies) > 0 || len(f.Objects.Services) > 0 { // they reach across namespaces
			cases = append(cases, mutant.Case{Name: name + " in a crowd", Check: func() error { return checkCrowd(f) }})
		}
	}
	return mutant.Serve(os.Stdin, os.Stdout, cases)
}

// checkCompiled holds the file against a snapshot of its objects.
func checkCompiled(f *corpus.File) error {
	s, err := netpol.Compile(f.Objects)
	if err := checkFaults(f, netpol.ObjectErrors(err)); err != nil {
		return err
	}
	if v := s.Evaluate(netpol.Connection{}); v.Allowed || v.Egress.Reason != netpol.UnknownPod || v.Ingress.Reason != netpol.UnknownPod {
		return fmt.Errorf("%s: from nobody to nobody: got %s", f.Path, corpus.WantOf(v))
	}
	return checkVerdicts(f, s)
}

func checkFaults(f *corpus.File, got []*netpol.ObjectError) error {
	if len(got) != len(f.Faults) {
		return fmt.Errorf("%s: %d faults, want %d", f.Path, len(got), len(f.Faults))
	}
	for i, want := range f.Faults {
		if got[i].Object != want.Object || got[i].Path != want.Path || got[i].Problem == "" {
			return fmt.Errorf("%s: got fault %v, want %s: %s", want.Pos, got[i], want.Object, want.Path)
		}
	}
	return nil
}
