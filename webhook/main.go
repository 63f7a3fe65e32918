// SPDX-License-Identifier: Apache-2.0

// Command bulkhead-webhook is Bulkhead's admission server and onboarding controller: new namespaces
// get a mode and the two baseline policies, unsafe objects are refused.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bulkhead-dev/bulkhead/webhook/internal/register"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead-webhook:", err)
		os.Exit(1)
	}
}

// run is the whole program: out gets results, logs get JSON lines. It returns nil when ctx ends
// and everything was put in order.
func run(ctx context.Context, args []string, out, logs io.Writer) error {
	command := newCommand(logs)
	command.SetArgs(args)
	command.SetOut(out)
	command.SetErr(logs)
	return command.ExecuteContext(ctx)
}

func newCommand(logs io.Writer) *cobra.Command {
	config := &Config{}
	command := &cobra.Command{
		Use:   "bulkhead-webhook",
		Short: "Bulkhead's admission server and onboarding controller",
		Long: `Bulkhead's admission server and onboarding controller.

New namespaces get a mode (label bulkhead.dev/mode); namespaces in mode audit or enforce get a
default-deny policy and one that allows DNS; namespaces and NetworkPolicies are judged by Rego rules.`,
		Example: `  bulkhead-webhook --rules-configmap bulkhead-system/bulkhead-rules     in a cluster, as the Helm chart runs it
  bulkhead-webhook --kubeconfig admin.kubeconfig --webhook-url https://192.0.2.10:9443
  bulkhead-webhook --kubeconfig admin.kubeconfig --webhook-url https://192.0.2.10:9443 \
    --default-mode audit --rules-dir rules/ --rule-action namespace/owner_required=warn
  bulkhead-webhook emergency-off --kubeconfig admin.kubeconfig`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.complete(); err != nil {
				return err
			}
			return serve(cmd.Context(), config, logs)
		},
	}
	command.PersistentFlags().StringVar(&config.Kubeconfig, "kubeconfig", "", "kubeconfig file; empty: in the cluster")
	config.addFlags(command.Flags())
	command.CompletionOptions.HiddenDefaultCmd = true
	command.AddCommand(newEmergencyOff(config))
	return command
}

func newEmergencyOff(config *Config) *cobra.Command {
	return &cobra.Command{
		Use:   "emergency-off",
		Short: "Delete all admission objects of Bulkhead, so that it refuses nothing",
		Long: `Deletes all admission objects of Bulkhead that can act, and prints one line for each. Then nothing is
refused any more, also while no bulkhead-webhook runs. NetworkPolicies and the labels of namespaces stay.

Turn it on again with helm upgrade, or by restarting bulkhead-webhook where it registers itself.`,
		Example: "  bulkhead-webhook emergency-off --kubeconfig admin.kubeconfig",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rest, err := connect(cmd.Context(), config.Kubeconfig)
			if err != nil {
				return err
			}
			c, err := client.New(rest, client.Options{})
			if err != nil {
				return fmt.Errorf("client for %s: %w", rest.Host, err)
			}
			return register.EmergencyOff(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
}
