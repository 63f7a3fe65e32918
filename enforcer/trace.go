// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/report"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/trace"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

func traceCommand() *cobra.Command {
	var addr, format, protocol string
	var q trace.Query
	cmd := &cobra.Command{
		Use:   "trace --from END --to END --port N",
		Short: "Say whether this node lets a connection pass, and by which rule",
		Long: `Asks the agent of this machine to judge one connection with what is loaded in the kernel: the egress side if
the pod that connects is on this node, the ingress side if the other pod is. A side on another node is named and
not judged. Where bulkhead explain says what policies mean, this says what is enforced; their words are the same.

An END is NAMESPACE/NAME of a pod, or an address; --to may be a Service, NAMESPACE/svc/NAME, which leads to one of its
pods: the first that is denied, else the first. --port is the port that is dialled: at a Service the Service's own.

The exit status is 0 if the connection is allowed, 1 if it is denied (also if it passes because the namespace is not
in mode enforce), 2 if there is no answer.`,
		Example: `  bulkhead-enforcer trace --from shop/web-5d4f8 --to shop/svc/api --port 80
  bulkhead-enforcer trace --from shop/web-5d4f8 --to 203.0.113.7 --port 443 --protocol udp -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Protocol = corev1.Protocol(protocol)
			r, err := askTrace(cmd.Context(), addr, format, q)
			if err == nil {
				err = wording.Print(cmd.OutOrStdout(), format, r, r.Text)
			}
			switch {
			case err != nil:
				return &exit{code: 2, err: err}
			case !r.Allowed:
				return &exit{code: 1}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "who connects")
	f.StringVar(&q.To, "to", "", "to whom")
	f.Uint16Var(&q.Port, "port", 0, "port that is dialled, 1 to 65535")
	f.StringVar(&protocol, "protocol", "TCP", "TCP, UDP or SCTP")
	f.StringVarP(&format, "output", "o", "text", "text, json or yaml")
	f.StringVar(&addr, "http-addr", defaultHTTPAddr, "the agent's --http-addr")
	cmd.SetFlagErrorFunc(noAnswer)
	return cmd
}

func askTrace(ctx context.Context, addr, format string, q trace.Query) (*trace.Report, error) {
	switch format {
	case "text", "json", "yaml":
	default:
		return nil, fmt.Errorf("--output %q is not one of text, json, yaml", format)
	}
	question, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := report.Ask(ctx, addr, "/trace", bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var r trace.Report
	if err := json.NewDecoder(answer).Decode(&r); err != nil {
		return nil, fmt.Errorf("read the enforcer's answer: %w", err)
	}
	return &r, nil
}
