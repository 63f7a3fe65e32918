// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"errors"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

// The kernel gives up at a million instructions, and older kernels prune less: stay far away.
const mostVerified = 50_000

func TestProgramsVerify(t *testing.T) {
	spec, err := bpf.LoadDatapath()
	if err != nil {
		t.Fatal(err)
	}
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	collection, err := ebpf.NewCollectionWithOptions(spec, options)
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer collection.Close()
	processed := regexp.MustCompile(`processed (\d+) insns`)
	for name, program := range collection.Programs {
		match := processed.FindStringSubmatch(program.VerifierLog)
		if match == nil {
			t.Fatalf("%s: no statistics in %q", name, program.VerifierLog)
		}
		n, err := strconv.Atoi(match[1])
		if err != nil || n > mostVerified {
			t.Errorf("%s: the verifier follows %d instructions, at most %d are wanted", name, n, mostVerified)
		}
	}
	if len(collection.Programs) != 5 {
		t.Errorf("%d programs, want from_pod, to_pod, forwarded, ask and measure", len(collection.Programs))
	}
}
