// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

func statusCommand() *cobra.Command {
	var addr, format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this node enforces",
		Long: `Asks the agent of this machine for its state: whether it is ready and if not why, the policies'
generation, faults of policies, and the mode of each pod. The agent answers this machine only.`,
		Example: `  bulkhead-enforcer status
  bulkhead-enforcer status -o json | jq .policyErrors`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := report.CheckFormat(format); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
			defer cancel()
			r, err := report.Fetch(ctx, addr)
			if err != nil {
				return err
			}
			return r.Print(cmd.OutOrStdout(), format)
		},
	}
	cmd.Flags().StringVar(&addr, "http-addr", defaultHTTPAddr, "the agent's --http-addr")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}
