// SPDX-License-Identifier: Apache-2.0

// The demo runs the whole loop on this machine with real components: etcd, kube-apiserver, the
// three binaries, and a node whose pods are network namespaces.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil && !errors.Is(err, errSandbox) { // the sandbox has said why
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	bin   string // folder of the three binaries
	chart string // folder of the Helm chart
	keep  bool   // leave everything running until interrupted
}

func (c *config) args() []string {
	args := []string{"--bin", c.bin, "--chart", c.chart}
	if c.keep {
		args = append(args, "--keep")
	}
	return args
}

func command() *cobra.Command {
	var c config
	root := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole loop: onboard, observe, propose, approve, sync, enforce",
		Args:  cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return outside(cmd.Context(), c, cmd.OutOrStdout()) },
	}
	root.PersistentFlags().StringVar(&c.bin, "bin", "bin", "folder of the binaries to run")
	root.PersistentFlags().StringVar(&c.chart, "chart", "charts/bulkhead", "folder of the Helm chart")
	root.PersistentFlags().BoolVar(&c.keep, "keep", false, "leave everything running until Ctrl-C, and say what to try")
	root.AddCommand(&cobra.Command{
		Use: "sandbox", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return inside(cmd.Context(), c, cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "pod", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return servePod(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	})
	return root
}

// outside builds what has to be built, while there still is a network, and enters the sandbox.
func outside(ctx context.Context, c config, out io.Writer) error {
	for _, tool := range []string{"etcd", "kube-apiserver", "helm"} {
		if _, err := cluster.Tool(ctx, tool, out); err != nil {
			return err
		}
	}
	if lack := missing(); lack != "" {
		fmt.Fprintf(out, "missing: %s. Steps 1 and 2 (control plane, onboarding, refusals) need none of it and follow.\n", lack)
		d := newDemo(c, out)
		if err := d.run(ctx, d.stepsWithoutPackets()); err != nil {
			return err
		}
		return fmt.Errorf("steps 3 to 6 were not shown: missing %s", lack)
	}
	return enterSandbox(ctx, c.args())
}

// inside is the demo itself.
func inside(ctx context.Context, c config, out io.Writer) error {
	if err := setUpSandbox(); err != nil {
		return err
	}
	d := newDemo(c, out)
	return d.run(ctx, d.steps())
}
