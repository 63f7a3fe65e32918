// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"bytes"
	"errors"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
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

// A kernel may have conntrack's types with a module, or describe none: programs load all the same.
func TestConntrackMayBeUnknown(t *testing.T) {
	file, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Skip(err)
	}
	const name = "\x00nf_conn\x00"
	if !bytes.Contains(file, []byte(name)) {
		t.Skip("this kernel has no such type to be hidden")
	}
	known, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	without, err := btf.LoadSpecFromReader(bytes.NewReader(bytes.Replace(file, []byte(name), []byte("\x00nf_none\x00"), 1)))
	if err != nil {
		t.Fatal(err)
	}
	for where, modules := range map[string][]*btf.Spec{"nowhere": nil, "in a module": {known}} {
		spec, err := bpf.LoadDatapath()
		if err != nil {
			t.Fatal(err)
		}
		collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
			Programs: ebpf.ProgramOptions{KernelTypes: without, ExtraRelocationTargets: modules},
		})
		if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) {
			t.Skip(err)
		} else if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		collection.Close()
	}
}
