// SPDX-License-Identifier: Apache-2.0

// Package command is the command line of bulkhead: flags in, calls to the packages that do the work, and
// their results printed.
package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// New returns the root command. It writes results to out and progress to errOut.
func New(out, errOut io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "bulkhead",
		Short: "Least-privilege network policies from observed connections, approved in Git",
		Long: `bulkhead turns connections that were observed in a Kubernetes cluster into the
policies that allow them and nothing else, proves that they do, and proposes them on a branch
of a Git repository. What a person merges there, it applies to the cluster.

  observe   bulkhead edges --flows flows.json
  write     bulkhead generate --flows flows.json --inventory dump/ --cluster prod --out policies/
  look      bulkhead report --flows flows.json --inventory dump/ --cluster prod --out report/
  prove     bulkhead verify --flows flows.json --inventory dump/ --policies policies/
  propose   bulkhead propose --flows flows.json --kubeconfig ~/.kube/config --cluster prod --repo ../policies.git
  apply     bulkhead sync --repo ../policies.git --cluster prod --kubeconfig ~/.kube/config
  all       bulkhead serve (inside the cluster)
  connected bulkhead connections manifests/
  changed   bulkhead diff before/ after/
  explain   bulkhead explain --from shop/web --to shop/api --port 8080 manifests/

Flows are Hubble's: hubble observe -o json > flows.json`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(explainCommand(), connections(), diff())
	root.AddCommand(edges(), generate(), report(), verify(), propose(), sync(), serve())
	return root
}

// OneLine makes an error fit on one line.
func OneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// oneOf checks the value of a flag that takes one of several words.
func oneOf(flag, value string, words ...string) error {
	for _, w := range words {
		if value == w {
			return nil
		}
	}
	return fmt.Errorf("--%s %q: give one of %s", flag, value, strings.Join(words, ", "))
}

// need checks that the flags that a command cannot do without were given.
func need(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Lookup(name).Value.String() == "" {
			return fmt.Errorf("%s: --%s is missing (see bulkhead %s --help)", cmd.Name(), name, cmd.Name())
		}
	}
	return nil
}
