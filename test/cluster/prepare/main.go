// SPDX-License-Identifier: Apache-2.0

// Command prepare builds the programs that tests and the demo run, and says how far it is: go test
// keeps what a test says to itself until the test has ended. The name node stands for all that a cluster with
// nodes is made of.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tools []string) error {
	if i := slices.Index(tools, "node"); i >= 0 {
		tools = slices.Replace(tools, i, i+1, cluster.NodeTools...)
	}
	for _, name := range tools {
		if _, err := cluster.Tool(ctx, name, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}
