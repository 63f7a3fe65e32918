// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/go-git/go-git/v5/plumbing/object"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/generator/internal/repo"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
	"github.com/bulkhead-dev/bulkhead/policies/baseline"
)

// ErrNothingApproved says that the base branch has nothing for the cluster.
var ErrNothingApproved = errors.New("nothing is approved")

// SyncAll syncs every namespace of the cluster's directory on the base branch. A namespace that cannot be synced
// does not keep the others from it: its Result carries the error, and all errors are joined.
func SyncAll(ctx context.Context, client kubernetes.Interface, r *repo.Repository, cluster string, dry bool) ([]Result, error) {
	if err := tree.ValidCluster(cluster); err != nil {
		return nil, err
	}
	base, err := r.Base()
	if err != nil {
		return nil, err
	}
	dir := path.Join("clusters", cluster)
	names, err := repo.Subdirectories(base, dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: commit %s has no directory %s with namespaces; merge a proposal first, or name another cluster", ErrNothingApproved, base.Hash, dir)
	}
	var (
		results []Result
		faults  []error
	)
	for _, name := range names {
		result, err := syncOne(ctx, client, r, base, cluster, name, dry)
		if err != nil {
			result.Error = err.Error()
			faults = append(faults, err)
		}
		results = append(results, result)
	}
	return results, errors.Join(faults...)
}

func syncOne(ctx context.Context, client kubernetes.Interface, r *repo.Repository, base *object.Commit, cluster, name string, dry bool) (Result, error) {
	failed := Result{Namespace: name}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return failed, fmt.Errorf("directory %q is no namespace: %s", name, problems[0])
	}
	if baseline.IsSystemNamespace(name) {
		return failed, fmt.Errorf("namespace %s belongs to the system and is not restricted: remove its directory", name)
	}
	built, err := buildAt(base, cluster, name)
	if err != nil {
		return failed, err
	}
	approved, err := repo.Approved(base, tree.Dir(cluster, name))
	if err != nil {
		return failed, err
	}
	return Sync(ctx, client, Approved{
		Namespace: name, Commit: approved.Hash.String(), Policies: built,
		At: func(commit string) ([]*networkingv1.NetworkPolicy, error) {
			c, err := r.Commit(commit)
			if err != nil {
				return nil, err
			}
			return buildAt(c, cluster, name)
		},
	}, dry)
}

func buildAt(c *object.Commit, cluster, namespace string) ([]*networkingv1.NetworkPolicy, error) {
	files, err := repo.Files(c, tree.Dir(cluster, namespace))
	if err != nil {
		return nil, err
	}
	return Build(files, namespace)
}
