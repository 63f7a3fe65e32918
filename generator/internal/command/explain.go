// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-dev/bulkhead/generator/internal/explain"
	"github.com/bulkhead-dev/bulkhead/policies/wording"
)

// question is what explain is asked.
type question struct {
	from, to, protocol string
	port               uint16
	kubeconfig, output string
}

func explainCommand() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "explain --from END --to END --port N (PATH… | --kubeconfig F)",
		Short: "Say whether a connection is allowed, by which rule of which file, and what would allow it",
		Long: `Judges one connection and says why: the egress side and the ingress side apart, each with the policy,
the rule and its file:line. When it is denied, it shows the rule that nearly matched and what is missing, and
the smallest change that would allow it, tried on a copy.

A PATH is a file, a folder, a kustomization, or - for standard input. With --kubeconfig the objects
are those of a live cluster.

An END is
  NAMESPACE/NAME        a pod; if none has the name, a workload (Deployment, StatefulSet, …), judged by
                        one of its pods; if none has it either and the END is --to, a Service
  NAMESPACE/KIND/NAME   the same without doubt: shop/deployment/web, shop/pod/web-0, shop/svc/api
                        (svc/shop/api is understood, too)
  node/NAME             the first address of a node
  an address            of a pod, a node, a Service, or anything else
--port is the port that is dialled: at a Service the Service's own, which is translated.

The exit status is 0 if the connection is allowed, 1 if it is denied, 2 if there is no answer.`,
		Example: `  bulkhead explain --from shop/web --to shop/api --port 8080 manifests/
  helm template shop ./chart | bulkhead explain --from shop/web --to shop/svc/api --port 80 -
  bulkhead explain --from shop/web --to 203.0.113.7 --port 443 --kubeconfig ~/.kube/config -o json`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			report, err := q.ask(cmd, paths)
			if err == nil {
				err = wording.Print(cmd.OutOrStdout(), q.output, report, report.Text)
			}
			switch {
			case err != nil:
				return &Status{Code: 2, Err: err}
			case !report.Allowed:
				return &Status{Code: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&q.from, "from", "", "who connects")
	cmd.Flags().StringVar(&q.to, "to", "", "to whom")
	cmd.Flags().Uint16Var(&q.port, "port", 0, "port that is dialled, 1 to 65535")
	cmd.Flags().StringVar(&q.protocol, "protocol", "TCP", "TCP, UDP or SCTP")
	cmd.Flags().StringVar(&q.kubeconfig, "kubeconfig", "", "ask about this live cluster instead of files")
	cmd.Flags().StringVarP(&q.output, "output", "o", "text", "text, json or yaml")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &Status{Code: 2, Err: err} })
	return cmd
}

func (q *question) ask(cmd *cobra.Command, paths []string) (*explain.Report, error) {
	q.protocol = strings.ToUpper(q.protocol)
	if err := errors.Join(need(cmd, "from", "to"), oneOf("output", q.output, "text", "json", "yaml"), oneOf("protocol", q.protocol, "TCP", "UDP", "SCTP")); err != nil {
		return nil, err
	}
	if q.port == 0 {
		return nil, errors.New("--port is missing: give the port that is dialled, 1 to 65535")
	}
	objs, err := readObjects(cmd, paths, q.kubeconfig)
	if err != nil {
		return nil, err
	}
	world := explain.NewWorld(objs.Objects, objs.inventory)
	if objs.set != nil {
		world.Locate = objs.position
	}
	from, err := world.From(q.from)
	if err != nil {
		return nil, fmt.Errorf("--from %w", err)
	}
	to, err := world.To(q.to)
	if err != nil {
		return nil, fmt.Errorf("--to %w", err)
	}
	return world.Explain(from, to, corev1.Protocol(q.protocol), q.port), nil
}
