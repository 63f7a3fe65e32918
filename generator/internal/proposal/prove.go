// SPDX-License-Identifier: Apache-2.0

package proposal

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/generator/internal/plan"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// prove takes away what other rules cover already, and proves what is left.
func (n *Namespace) prove() error {
	all, report, err := proof.Reduce(n.All(), n.Connections, n.sample, n.dns)
	if err != nil {
		return fmt.Errorf("prove policies of namespace %s: %w", n.Name, err)
	}
	n.Policies, n.Report = all[len(n.Baseline):], report // the baseline comes first and stays
	if !n.Report.Proven {
		return &NotProvenError{n.Name, n.Report}
	}
	n.Rules = n.Report.Rules
	var git []*networkingv1.NetworkPolicy
	if len(n.inv.Foreign(n.Name, nil)) > 0 {
		if git, err = policiesIn(n.Name, n.Existing); err != nil {
			return err
		}
	}
	return n.meet(n.Report, git, n.All())
}

// meet says what policies do that the cluster has beside those of Git.
func (n *Namespace) meet(r *proof.Report, git, policies []*networkingv1.NetworkPolicy) error {
	if err := r.Meet(n.inv, git, policies, n.Connections, n.sample, n.dns); err != nil {
		return fmt.Errorf("policies of namespace %s: %w", n.Name, err)
	}
	return nil
}

// ProveFinal judges the files as they will be in the repository, with what people changed in them. Where they say what
// was generated, to the last field, it is proven already.
func (n *Namespace) ProveFinal(files tree.Files) (*proof.Report, error) {
	policies, err := n.read(files)
	if err != nil {
		return nil, err
	}
	if samePolicies(policies, n.All()) {
		return n.Report, nil
	}
	report, err := proof.Prove(policies, n.observed, n.sample, n.dns)
	if err != nil {
		return nil, fmt.Errorf("policies of namespace %s: %w", n.Name, err)
	}
	return report, n.meet(report, nil, policies)
}

// read are the policies of the namespace's files. Of a file that reads as what was generated, they are those that were:
// there is no need to make objects of it again.
func (n *Namespace) read(files tree.Files) ([]*networkingv1.NetworkPolicy, error) {
	generated := map[string][]*networkingv1.NetworkPolicy{tree.BaselineFile: n.Baseline}
	for _, p := range n.Policies {
		generated[tree.FileOf(p.Name)] = []*networkingv1.NetworkPolicy{p}
	}
	var policies []*networkingv1.NetworkPolicy
	for _, name := range policyFiles(files) {
		found := generated[name]
		if said, err := manifest.JSON(name, files[name]); err != nil || !bytes.Equal(said, n.documents[name]) {
			if found, err = policiesOf(n.Name, name, files[name]); err != nil {
				return nil, err
			}
		}
		policies = append(policies, found...)
	}
	return policies, nil
}

// policiesIn are those of a namespace's files.
func policiesIn(namespace string, files tree.Files) ([]*networkingv1.NetworkPolicy, error) {
	var policies []*networkingv1.NetworkPolicy
	for _, name := range policyFiles(files) {
		found, err := policiesOf(namespace, name, files[name])
		if err != nil {
			return nil, err
		}
		policies = append(policies, found...)
	}
	return policies, nil
}

// policiesOf are those of one file.
func policiesOf(namespace, name string, content []byte) ([]*networkingv1.NetworkPolicy, error) {
	objects, err := manifest.Parse(name, content, manifest.Strict)
	if err != nil {
		return nil, fmt.Errorf("policies of namespace %s: %w", namespace, err)
	}
	found, err := proof.Policies(objects)
	if err != nil {
		return nil, fmt.Errorf("policies of namespace %s, %s: %w", namespace, name, err)
	}
	for _, p := range found {
		if p.Namespace == "" { // the kustomization gives it
			p.Namespace = namespace
		}
	}
	return found, nil
}

// samePolicies reports whether two lists say the same in any order.
func samePolicies(a, b []*networkingv1.NetworkPolicy) bool {
	byName := map[string]*networkingv1.NetworkPolicy{}
	for _, p := range a {
		byName[p.Namespace+"/"+p.Name] = p
	}
	return len(a) == len(b) && len(byName) == len(b) && !slices.ContainsFunc(b, func(p *networkingv1.NetworkPolicy) bool {
		o := byName[p.Namespace+"/"+p.Name]
		return o == nil || o != p && !equality.Semantic.DeepEqual(o, p)
	})
}

// policyFiles are the names of files that have policies, in order.
func policyFiles(files tree.Files) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool { return !isPolicyFile(name) })
}

func isPolicyFile(name string) bool {
	return name != tree.KustomizationFile && name != plan.File && !strings.Contains(name, "/") &&
		(strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml"))
}
