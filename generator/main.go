// SPDX-License-Identifier: Apache-2.0

// Command bulkhead writes least-privilege network policies from observed connections, proves them, proposes them
// in Git, and applies what is approved there.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/bulkhead-dev/bulkhead/generator/internal/command"
)

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what does not look at the first
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		if line := command.OneLine(err); line != "" { // a denial is an answer, and printed already
			fmt.Fprintln(os.Stderr, "bulkhead:", line)
		}
		os.Exit(command.ExitCode(err))
	}
}

// collectAt is by how much of what is in use, in percent, memory grows before garbage is collected. Half of the usual 100
// takes some more of the processor's time and a quarter less memory: a large cluster is to fit into 256 MB.
const collectAt = 50

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	klog.SetOutput(io.Discard) // client-go's own log lines; its errors come back as errors
	klog.LogToStderr(false)
	root := command.New(out, errOut)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}
