// SPDX-License-Identifier: Apache-2.0

// Command run starts a cluster with nodes that outlives the command, and ends it: `run up` and `run down`.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const usage = `usage: run up|down [--dir DIR] [--nodes N] [--cni ptp|bridge] [--ipv6]`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	dir     string // absolute
	cluster cluster.FullOptions
}

// shape is what cannot be changed while the cluster runs.
func (c config) shape() string {
	return fmt.Sprintf("%d-%s-%t", c.cluster.Nodes, c.cluster.CNI, c.cluster.IPv6)
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%s", usage)
	}
	c, err := parse(args[1:])
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return up(ctx, c, args[1:], out)
	case "down":
		return down(c.dir, out)
	case serveCommand:
		return serve(ctx, c, out)
	}
	return fmt.Errorf("unknown command %q; %s", args[0], usage)
}

func parse(args []string) (config, error) {
	var c config
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.StringVar(&c.dir, "dir", "bin/cluster", "where the cluster's state is")
	flags.IntVar(&c.cluster.Nodes, "nodes", 1, "how many nodes there are")
	flags.StringVar((*string)(&c.cluster.CNI), "cni", string(cluster.PTP), "how pods are connected: ptp or bridge")
	flags.BoolVar(&c.cluster.IPv6, "ipv6", false, "IPv6 and IPv4 addresses, the former primary")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	if flags.NArg() > 0 {
		return config{}, fmt.Errorf("unexpected %q; %s", flags.Arg(0), usage)
	}
	if err := c.cluster.Check(); err != nil {
		return config{}, err
	}
	var err error
	c.dir, err = filepath.Abs(c.dir)
	c.cluster.Dir = filepath.Join(c.dir, "state")
	return c, err
}
