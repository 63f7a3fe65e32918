// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// serveCommand runs the cluster until it is told to end. Up starts it; nobody types it.
const serveCommand = "serve"

// Files of the directory.
const (
	serverFile     = "server"     // process id and start time of who serves
	kubeconfigFile = "kubeconfig" // the administrator's; it exists when the cluster is ready
	insideFile     = "inside.kubeconfig"
	nodesFile      = "nodes" // name and first process of each node
	logFile        = "log"
)

// serve runs the cluster until ctx ends. Everything ends with this process, however it ends.
func serve(ctx context.Context, c config, out io.Writer) error {
	c.cluster.Log = out
	running, err := cluster.StartFull(ctx, c.cluster)
	if err != nil {
		return err
	}
	if err := announce(c.dir, running); err != nil {
		return errors.Join(err, running.Stop())
	}
	<-ctx.Done()
	return running.Stop()
}

// announce writes what up shows; the kubeconfig last, and whole.
func announce(dir string, running *cluster.Cluster) error {
	nodes := ""
	for _, n := range running.Nodes {
		nodes += fmt.Sprintf("%s %d\n", n.Name, n.Pid())
	}
	if err := os.WriteFile(filepath.Join(dir, nodesFile), []byte(nodes), 0o644); err != nil {
		return err
	}
	inside, err := running.InsideKubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	if err := os.Rename(inside, filepath.Join(dir, insideFile)); err != nil {
		return err
	}
	kubeconfig, err := running.Kubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	return os.Rename(kubeconfig, filepath.Join(dir, kubeconfigFile))
}
