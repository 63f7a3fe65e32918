// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
)

// Images that every cluster has.
const (
	// Agnhost is Kubernetes' image for tests: servers, clients and `connect` in one binary.
	Agnhost = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"

	pauseImage   = "registry.k8s.io/pause:3.10.2"
	corednsImage = "registry.k8s.io/coredns/coredns:v1.15.0"
)

// NodeTools are the names, as Tool knows them, of what a cluster with nodes is made of.
var NodeTools = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
	"containerd", "containerd-shim-runc-v2", "ctr", "ptp", "bridge", "loopback", "host-local", "portmap",
	"coredns", "agnhost",
}

// toolbox is what a cluster with nodes is made of, all of it built.
type toolbox struct {
	dir      string // of the tools
	nodeinit string // the first process of a node and of a pod
}

// openToolbox builds what is missing. own is the cluster's directory, which gets what cannot be shared with other
// clusters because it is built each time.
func openToolbox(ctx context.Context, own string, log io.Writer) (toolbox, error) {
	for _, name := range []string{"runc", "iptables"} {
		if _, err := exec.LookPath(name); err != nil {
			return toolbox{}, fmt.Errorf("a node needs the program %s (Debian: test/install-packages %s:%s): %w", name, name, name, err)
		}
	}
	box := toolbox{nodeinit: filepath.Join(own, "nodeinit")}
	for _, name := range NodeTools {
		path, err := Tool(ctx, name, log)
		if err != nil {
			return toolbox{}, err
		}
		box.dir = filepath.Dir(path)
	}
	root, err := repositoryRoot()
	if err != nil {
		return toolbox{}, err
	}
	return box, goBuild(ctx, root, "./test/cluster/nodeinit", box.nodeinit)
}

func (t toolbox) path(name string) string { return filepath.Join(t.dir, name) }

func (t toolbox) baseImages() []Image {
	return []Image{
		{Name: pauseImage, Files: map[string]string{"/pause": t.nodeinit}, Entrypoint: []string{"/pause", "pause"}},
		{Name: Agnhost, Files: map[string]string{"/agnhost": t.path("agnhost")}, Entrypoint: []string{"/agnhost"}},
		{Name: corednsImage, Files: map[string]string{"/coredns": t.path("coredns")}, Entrypoint: []string{"/coredns"}},
	}
}
