// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// clusterName is the cluster's name in the repository, proposal the branch for namespace shop.
const (
	clusterName = "demo"
	proposal    = "bulkhead/" + clusterName + "/shop"
)

// seconds are too short for anything to be seen twice: one flow is enough here.
const seconds = "--min-flows"

// propose is step 4: the generator reads the enforcer's flows and commits proven policies.
func (d *demo) propose(ctx context.Context) error {
	repo := d.path("policies.git")
	if err := d.createRepository(ctx, repo); err != nil {
		return err
	}
	kubeconfig, err := d.plane.Kubeconfig(baseline.ServiceAccountUser(baseline.GeneratorServiceAccount))
	if err != nil {
		return err
	}
	if err := d.bulkhead(ctx, "edges", "--hubble", d.ports.hubble); err != nil {
		return err
	}
	body := d.path("pull-request.md")
	err = d.bulkhead(ctx, "propose", "--hubble", d.ports.hubble, "--kubeconfig", kubeconfig,
		"--cluster", clusterName, "--namespace", "shop", "--repo", repo, "--body", body, seconds, "1")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(body)
	if err != nil {
		return err
	}
	d.say("the pull request's text, %s:", filepath.Base(body))
	d.say("  | %s", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    | "))
	return d.prove(ctx, repo, kubeconfig)
}

// prove checks the branch out, as a reviewer would, and has it judged by the evaluator: what is
// allowed, what is needed, and what is allowed beyond what was seen.
func (d *demo) prove(ctx context.Context, repo, kubeconfig string) error {
	work := d.path("review")
	if _, err := d.git(ctx, "clone", "-q", "--branch", proposal, repo, work); err != nil {
		return err
	}
	return d.bulkhead(ctx, "verify", "--hubble", d.ports.hubble, "--kubeconfig", kubeconfig,
		"--policies", filepath.Join(work, "clusters", clusterName, "shop"), seconds, "1")
}

// bulkhead runs a command of the CLI and shows it and what it prints.
func (d *demo) bulkhead(ctx context.Context, args ...string) error {
	d.say("$ bulkhead %s", strings.ReplaceAll(strings.Join(args, " "), d.dir+"/", ""))
	cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "bulkhead"), args...)
	cmd.Stdout, cmd.Stderr = indented{d.out}, indented{d.out}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("bulkhead %s: %w", args[0], err)
	}
	return nil
}

// createRepository makes what a team would have: a bare repository with a main branch.
func (d *demo) createRepository(ctx context.Context, bare string) error {
	work := d.path("seed")
	for _, args := range [][]string{
		{"init", "-q", "--bare", "--initial-branch=main", bare},
		{"init", "-q", "--initial-branch=main", work},
		{"-C", work, "commit", "-q", "--allow-empty", "-m", "Network policies of our clusters"},
		{"-C", work, "push", "-q", bare, "main"},
	} {
		if _, err := d.git(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "HOME="+d.dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Reviewer", "GIT_AUTHOR_EMAIL=reviewer@example.com",
		"GIT_COMMITTER_NAME=Reviewer", "GIT_COMMITTER_EMAIL=reviewer@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// approve is step 5: merge as a reviewer would, and wait for the generator's service to sync.
func (d *demo) approve(ctx context.Context) error {
	repo, work := d.path("policies.git"), d.path("review")
	err := d.part(ctx, "bulkhead", baseline.GeneratorServiceAccount, d.ports.generator,
		"serve", "--repo="+repo, "--cluster="+clusterName, "--hubble="+d.ports.hubble, "--listen="+d.ports.generator,
		"--propose-every=1h", "--sync-every=1s")
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-C", work, "switch", "-q", "main"},
		{"-C", work, "merge", "-q", "--no-ff", "-m", "Approve the policies of shop", "origin/" + proposal},
		{"-C", work, "push", "-q", "origin", "main"},
	} {
		if _, err := d.git(ctx, args...); err != nil {
			return err
		}
	}
	commit, err := d.git(ctx, "-C", work, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	d.say("merged %s as %.10s", proposal, commit)
	begin := time.Now()
	for _, name := range []string{"frontend", "api", "database"} {
		err := d.until(ctx, "NetworkPolicy shop/"+name+" is synced", func(ctx context.Context) (bool, error) {
			p, err := d.api.NetworkingV1().NetworkPolicies("shop").Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil && p.Annotations[baseline.AnnotationApprovedCommit] == commit, err
		})
		if err != nil {
			return err
		}
	}
	d.say("frontend, api and database synced into shop %s later, each with the commit that approved it",
		time.Since(begin).Round(time.Millisecond))
	return nil
}

// invite says what to try while everything runs.
func (d *demo) invite() {
	d.heading("Everything is left running until Ctrl-C.")
	admin, err := d.plane.Kubeconfig("admin", "system:masters")
	if err != nil {
		d.say("no kubeconfig: %v", err)
		return
	}
	bin, err := filepath.Abs(d.bin)
	if err != nil {
		bin = d.bin
	}
	enter := fmt.Sprintf("nsenter --target $(pgrep --newest --exact --full '%s sandbox.*') --net --mount --pid", os.Args[0])
	d.say("kubeconfig: %s", admin)
	d.say("in another terminal, as root, enter the node's network with")
	d.say("  %s bash", enter)
	d.say("and try")
	d.say("  export KUBECONFIG=%s", admin)
	d.say("  kubectl get networkpolicies --all-namespaces")
	d.say("  %s status --http-addr %s", filepath.Join(bin, "bulkhead-enforcer"), d.ports.enforcer)
	d.say("  %s edges --hubble %s", filepath.Join(bin, "bulkhead"), d.ports.hubble)
	d.say("  git -C %s log --stat", d.path("policies.git"))
}
