// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
)

// askTimeout bounds a question that has a short answer.
const askTimeout = 10 * time.Second

func statusCommand() *cobra.Command {
	var addr, format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this node enforces",
		Long: `Asks the agent of this machine for its state: whether it is ready and if not why, the policies'
generation and since when it is enforced, changes that are not enforced yet, what came of the self-test, how
full the datapath's maps are, faults of policies, and the mode and policy set of each pod. The agent answers
this machine only.

The exit status is 0 if the node is ready, 1 if it is not, 2 if there is no answer.`,
		Example: `  bulkhead-enforcer status
  bulkhead-enforcer status -o json | jq .policyErrors`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := status(cmd, addr, format)
			switch {
			case err != nil:
				return &exit{code: 2, err: err}
			case !r.Ready:
				return &exit{code: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "http-addr", defaultHTTPAddr, "the agent's --http-addr")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table, json or yaml")
	cmd.SetFlagErrorFunc(noAnswer)
	return cmd
}

func status(cmd *cobra.Command, addr, format string) (*report.Report, error) {
	if err := report.CheckFormat(format); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
	defer cancel()
	r, err := report.Fetch(ctx, addr)
	if err != nil {
		return nil, err
	}
	return r, r.Print(cmd.OutOrStdout(), format, time.Now())
}
