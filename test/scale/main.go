// SPDX-License-Identifier: Apache-2.0

// Command scale measures what the policies of a large cluster take: time on two cores, and memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/test/program"
)

func main() { program.Main(command()) }

// config is what the flags say.
type config struct {
	flows    int
	bulkhead string
	dir      string
}

func command() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure bulkhead generate on the flows of a large cluster",
		Long: `Measures bulkhead generate on the flows of a cluster with 5,000 pods of 1,000 workloads in 50 namespaces and
100,000 connections, each observed at one of its ends: as many edges. 5 % of them are to addresses outside.

The flows are printed by another process, which bulkhead reads from a pipe. That process is not counted, but it shares
the machine: the time on two cores is that of the clock, and what it would be with both cores to itself is the
processor's time, halved.

Exit status 1: a figure is not as it should be, or the measurement failed.`,
		Example: `  make bench-generator
  bin/scale --flows 1000000
  bin/scale print --flows 1000 | head -1`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return run(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.flows, "flows", 10_000_000, "flows to read")
	f.StringVar(&c.bulkhead, "bulkhead", "bin/bulkhead", "the bulkhead to run")
	f.StringVar(&c.dir, "dir", "", "directory for the inventory and the policies, made and kept (empty: a temporary one)")
	cmd.AddCommand(printing())
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

func (c *config) check() error {
	if least := 4 * namespaces * workloads * opens; c.flows < least {
		return fmt.Errorf("--flows %d: fewer than %d do not show each connection twice", c.flows, least)
	}
	return nil
}

func printing() *cobra.Command {
	var flows int
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the flows, as hubble observe -o json does",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return newStream().write(cmd.OutOrStdout(), flows) },
	}
	cmd.Flags().IntVar(&flows, "flows", 10_000_000, "how many")
	return cmd
}

func run(ctx context.Context, c config, out io.Writer) (err error) {
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "bulkhead-scale-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	} else if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	f, err := measure(ctx, c.bulkhead, c.flows, c.dir)
	if err != nil {
		return err
	}
	f.print(out)
	return f.verdict()
}

// What should be, at 10 million flows, on two cores.
const (
	cores       = 2
	mostMemory  = 256 << 20
	mostProving = 10 * time.Second
	rate        = 10_000_000.0 / 60 // flows a second
)

func (f *figures) print(out io.Writer) {
	fmt.Fprintf(out, "%d flows of %d pods and %d connections\n\n", f.flows, namespaces*workloads*replicas, namespaces*workloads*opens)
	fmt.Fprintln(out, "| | wall | CPU | CPU on two cores | at most |\n| --- | ---: | ---: | ---: | ---: |")
	line := func(what string, p phase, most time.Duration) {
		fmt.Fprintf(out, "| %s | %.1f s | %.1f s | %.1f s | %.0f s |\n", what, p.wall.Seconds(), p.cpu.Seconds(), p.cpu.Seconds()/cores, most.Seconds())
	}
	line("read, attribute, fold", f.reading, f.mostReading())
	line("synthesis, proof, files", f.rest, mostProving)
	fmt.Fprintf(out, "\n%.0f flows a second; %d MB resident at most (at most %d); %d files\n",
		float64(f.flows)/f.reading.wall.Seconds(), f.memory>>20, mostMemory>>20, f.files)
}

func (f *figures) mostReading() time.Duration {
	return time.Duration(float64(f.flows) / rate * float64(time.Second))
}

// verdict is the error that says which figures are not as they should be.
func (f *figures) verdict() error {
	var errs []error
	if most := f.mostReading(); f.reading.wall > most {
		errs = append(errs, fmt.Errorf("reading took %.1f s instead of %.1f: is the machine busy?", f.reading.wall.Seconds(), most.Seconds()))
	}
	if f.rest.wall > mostProving {
		errs = append(errs, fmt.Errorf("synthesis and proof took %.1f s instead of %.0f: is the machine busy?", f.rest.wall.Seconds(), mostProving.Seconds()))
	}
	if f.memory > mostMemory {
		errs = append(errs, fmt.Errorf("%d MB were resident instead of %d", f.memory>>20, mostMemory>>20))
	}
	if want := namespaces * (workloads + 2); f.files != want {
		errs = append(errs, fmt.Errorf("%d files were written instead of %d", f.files, want))
	}
	return errors.Join(errs...)
}
