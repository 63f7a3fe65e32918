// SPDX-License-Identifier: Apache-2.0

// Package bpf holds the datapath: eBPF programs in C that judge packets, and their Go bindings. It
// knows bytes and maps and nothing about Kubernetes. The names and layouts of everything that
// programs and userspace share are declared once, in headers/state.h.
package bpf

//go:generate go tool bpf2go -go-package bpf -target amd64,arm64 -cc clang-14 -strip llvm-strip-14 -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -fno-strict-aliasing" -type direction -type mode -type protocol -type verdict -type reason -type identity_flag -type connection_flag -type device -type allowed -type limit -type tc_index -type tiers -type policies -type endpoint -type identity -type cidr_key -type peer_key -type port_key -type bitmap -type policy_set -type endpoint_key -type port_class_table -type flow_key -type flow -type denial -type dns_answer -type question -type answer -type fill Datapath datapath.c
