// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/service"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// repository is where approved policies are recorded.
type repository struct {
	location, base, tokenFile string
}

func (r *repository) flags(f *pflag.FlagSet) {
	f.StringVar(&r.location, "repo", "", "Git repository: a directory (bare or not) or a URL")
	f.StringVar(&r.base, "base", "main", "branch that is approved")
	f.StringVar(&r.tokenFile, "git-token-file", "", "file with the token for an https URL (empty: none)")
}

func (r *repository) open(cmd *cobra.Command) (*repo.Repository, error) {
	cfg := repo.Config{Location: r.location, Base: r.base}
	if r.tokenFile != "" {
		token, err := os.ReadFile(r.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--git-token-file: %w", err)
		}
		cfg.Token = strings.TrimSpace(string(token))
	}
	return repo.Open(cmd.Context(), cfg)
}

func propose() *cobra.Command {
	var (
		w      writing
		r      repository
		body   string
		output string
	)
	cmd := &cobra.Command{
		Use:   "propose --repo PATH_OR_URL --cluster NAME (--flows F… | --hubble ADDR) [--inventory DIR | --kubeconfig F]",
		Short: "Commit proven policies to a branch for review",
		Long: `Makes and proves policies as generate does, and commits each namespace's to the branch
bulkhead/<cluster>/<namespace> of a Git repository, on top of --base. The text of the pull request is written
to --body: risks first, then what changes, the evidence for each rule, what would break, and the
command that reproduces it.

What is approved stays, seen again or not. With --retire only what was not seen for long is taken away, on the
branch bulkhead/<cluster>/<namespace>.retire.

Policies that mean the same as on --base are not committed. Files that a person edited are kept. A branch
that carries a person's commit is left alone, and the exit status is 1.`,
		Example: `  bulkhead propose --flows flows.json --inventory dump --cluster prod --repo ../policies.git --body pr.md
  bulkhead propose --hubble localhost:4245 --kubeconfig ~/.kube/config --cluster prod -n shop \
    --repo https://git.example.com/team/policies.git --git-token-file token --body pr.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := errors.Join(need(cmd, "cluster", "repo"), oneOf("output", output, "text", "json")); err != nil {
				return err
			}
			if err := w.check(); err != nil {
				return err
			}
			if body != "" {
				if err := writableFile("body", body); err != nil {
					return err
				}
			}
			repository, err := r.open(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, repository.Close()) }()
			p, stats, err := w.make(cmd, func(namespace string) (tree.Files, error) {
				return repository.BaseFiles(tree.Dir(w.name, namespace))
			}, nil)
			complain(cmd.ErrOrStderr(), stats)
			if err != nil {
				return err
			}
			notices(cmd.ErrOrStderr(), p)
			outcomes, err := service.Propose(cmd.Context(), repository, p, w.reproduce)
			if len(outcomes) == 0 {
				return err
			}
			if body != "" {
				err = errors.Join(err, writeBodies(body, outcomes))
			}
			return errors.Join(append(p.Failed, err, printOutcomes(cmd, outcomes, output))...)
		},
	}
	w.flags(cmd.Flags(), "")
	r.flags(cmd.Flags())
	cmd.Flags().StringVar(&body, "body", "", "file for the pull request's text in Markdown; with several namespaces, the namespace is put before its extension (empty: not written)")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printOutcomes(cmd *cobra.Command, outcomes []service.Outcome, output string) error {
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), outcomes)
	}
	for _, o := range outcomes {
		switch {
		case o.Error != "": // it is in the command's error
		case o.Commit == "":
			fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing to propose: %s\n", o.Namespace, o.Reason)
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%s: commit %s on branch %s\n", o.Namespace, o.Commit, o.Branch)
		}
	}
	return nil
}

// writeBodies writes the text of each proposal, whole or not at all.
func writeBodies(file string, outcomes []service.Outcome) error {
	for _, o := range outcomes {
		if o.Body == "" {
			continue
		}
		name := file
		if len(outcomes) > 1 {
			ext := filepath.Ext(file)
			name = strings.TrimSuffix(file, ext) + "." + o.Namespace + ext
		}
		if err := tree.WriteFile(name, []byte(o.Body), 0o644); err != nil {
			return fmt.Errorf("--body: %w", err)
		}
	}
	return nil
}
