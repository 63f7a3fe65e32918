// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// ErrUnsupported marks an error that this kernel, or this user's rights, make final.
var ErrUnsupported = errors.New("this node cannot run the datapath")

// explain adds to a failure what the node lacks, if that is why. Features are only probed then.
func explain(err error) error {
	if missing := missing(err); missing != "" {
		return fmt.Errorf("%w: %s: %w", ErrUnsupported, missing, err)
	}
	return err
}

func missing(err error) string {
	if _, statErr := os.Stat("/sys/kernel/btf/vmlinux"); statErr != nil {
		return "the kernel describes no types (build it with CONFIG_DEBUG_INFO_BTF=y)"
	}
	if errors.Is(err, unix.EPERM) {
		return "not permitted (run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN)"
	}
	if probe := features.HaveProgramType(ebpf.Netfilter); errors.Is(probe, ebpf.ErrNotSupported) {
		return "no BPF netfilter programs (needs Linux 6.6 or newer with CONFIG_NETFILTER_BPF_LINK=y)"
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		return "a BPF feature is missing (needs Linux 6.6 or newer)"
	}
	return ""
}
