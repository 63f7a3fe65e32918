// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// source says where a tool is built from.
type source struct {
	module  string // directory of the nested module that pins it, from the repository's root
	pkg     string
	version string // module whose version is stamped into the binary as Kubernetes'; empty: none
	tags    string // build tags, with commas between; empty: none
	test    bool   // the package's test binary is built, not the package
	hint    string // what to expect of the first build
}

var sources = map[string]source{
	"etcd":           {module: "test/cluster/binaries", pkg: "go.etcd.io/etcd/server/v3", hint: "about 10 seconds"},
	"kube-apiserver": ofKubernetes("test/cluster/binaries", "cmd/kube-apiserver", "about 3 minutes"),
	"helm":           {module: "test/tools", pkg: "helm.sh/helm/v4/cmd/helm", hint: "about 2 minutes"},
	"hubble":         {module: "test/cluster/hubble", pkg: "github.com/cilium/cilium/hubble", hint: "about 2 minutes"},

	"kube-controller-manager": ofKubernetes(nodeModules+"kubernetes", "cmd/kube-controller-manager", "about 2 minutes"),
	"kube-scheduler":          ofKubernetes(nodeModules+"kubernetes", "cmd/kube-scheduler", "about 1 minute"),
	"kubelet":                 ofKubernetes(nodeModules+"kubernetes", "cmd/kubelet", "about 2 minutes"),
	"kube-proxy":              ofKubernetes(nodeModules+"kubernetes", "cmd/kube-proxy", "about 1 minute"),
	"agnhost":                 ofKubernetes(nodeModules+"kubernetes", "test/images/agnhost", "about 1 minute"),
	"e2e.test":                endToEnd,

	"containerd":              ofContainerd("containerd", "about 2 minutes"),
	"containerd-shim-runc-v2": ofContainerd("containerd-shim-runc-v2", "about 1 minute"),
	"ctr":                     ofContainerd("ctr", "about 1 minute"),

	"ptp":        cniPlugin("main/ptp"),
	"bridge":     cniPlugin("main/bridge"),
	"loopback":   cniPlugin("main/loopback"),
	"host-local": cniPlugin("ipam/host-local"),
	"portmap":    cniPlugin("meta/portmap"),

	"coredns": {module: nodeModules + "coredns", pkg: "github.com/coredns/coredns", hint: "about 2 minutes"},
}

// nodeModules holds the nested modules of what runs on a node. They are several because their
// requirements differ.
const nodeModules = "test/cluster/binaries/"

// endToEnd is Kubernetes' own suite of tests.
var endToEnd = func() source {
	s := ofKubernetes(nodeModules+"kubernetes", "test/e2e", "about 3 minutes")
	s.test = true
	return s
}()

func ofKubernetes(module, pkg, hint string) source {
	return source{module: module, pkg: "k8s.io/kubernetes/" + pkg, version: "k8s.io/kubernetes", hint: hint}
}

func ofContainerd(command, hint string) source {
	return source{
		module: nodeModules + "containerd", pkg: "github.com/containerd/containerd/v2/cmd/" + command,
		tags: "no_btrfs,no_devmapper,no_zfs", hint: hint,
	}
}

func cniPlugin(path string) source {
	return source{module: nodeModules + "cni", pkg: "github.com/containernetworking/plugins/plugins/" + path, hint: "seconds"}
}

// Tool returns the path of a program (etcd, kubelet, helm; an unknown name gets the list) under
// bin/test of the repository, after building it from its nested module if the one there is
// missing or was built from other versions. It must be called from inside the
// repository. Several processes may call it at once: one builds, the others
// wait. log receives progress; nil: discarded.
func Tool(ctx context.Context, name string, log io.Writer) (string, error) {
	if log == nil {
		log = io.Discard
	}
	src, known := sources[name]
	if !known {
		return "", fmt.Errorf("tool %s is not known; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(sources)), ", "))
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	b := builder{source: src, name: name, dir: filepath.Join(root, src.module), out: filepath.Join(root, "bin", "test"), log: log}
	path, err := b.ensure(ctx)
	if err != nil {
		return "", fmt.Errorf("build %s from %s: %w", name, src.module, err)
	}
	return path, nil
}

// ensure builds unless the stamp beside the binary says that it is current.
func (b *builder) ensure(ctx context.Context) (string, error) {
	want, err := b.stamp()
	if err != nil {
		return "", err
	}
	if b.current(want) {
		return b.binary(), nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(ctx, filepath.Join(b.out, ".lock"), b.log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if b.current(want) { // whoever held the lock has built it
		return b.binary(), nil
	}
	if err := b.build(ctx); err != nil {
		return "", err
	}
	return b.binary(), os.WriteFile(b.binary()+".stamp", []byte(want), 0o644)
}

func (b *builder) binary() string { return filepath.Join(b.out, b.name) }

func (b *builder) current(want string) bool {
	have, err := os.ReadFile(b.binary() + ".stamp")
	if err != nil || string(have) != want {
		return false
	}
	_, err = os.Stat(b.binary())
	return err == nil
}

// stamp names everything that the binary depends on.
func (b *builder) stamp() (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH, b.source)
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(b.dir, name))
		if err != nil {
			return "", err
		}
		hash.Write(content)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// repositoryRoot is the directory of the main module's go.mod, at or above the
// working directory.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the repository: %w", err)
		}
		if bytes.HasPrefix(content, []byte("module github.com/bulkhead-dev/bulkhead\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside Bulkhead's repository, from which the tools are built: run this from there", start)
		}
	}
}
