// SPDX-License-Identifier: Apache-2.0

package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/manifest"
	"github.com/bulkhead-dev/bulkhead/policies/netpol"
)

// objects are what a question is about, and where they stand.
type objects struct {
	netpol.Objects
	inventory *inventory.Inventory
	set       *manifest.Set // nil: of a live cluster
}

// readObjects reads those of files or of a live cluster, whichever was given.
func readObjects(cmd *cobra.Command, paths []string, kubeconfig string) (*objects, error) {
	switch {
	case len(paths) == 0 && kubeconfig == "":
		return nil, errors.New("no objects: give files or folders, - for standard input, or --kubeconfig FILE")
	case len(paths) > 0 && kubeconfig != "":
		return nil, errors.New("give files or --kubeconfig, not both")
	case kubeconfig != "":
		return liveObjects(cmd, kubeconfig)
	}
	set, err := manifest.Load(paths, cmd.InOrStdin(), manifest.Strict)
	if err != nil {
		return nil, err
	}
	remark(cmd.ErrOrStderr(), set)
	return &objects{Objects: set.Netpol(), inventory: inventory.FromSet(set), set: set}, nil
}

func liveObjects(cmd *cobra.Command, kubeconfig string) (*objects, error) {
	client, err := connect(kubeconfig)
	if err != nil {
		return nil, err
	}
	found, err := inventory.Objects(cmd.Context(), client)
	if err != nil {
		return nil, err
	}
	return &objects{Objects: manifest.Netpol(found), inventory: inventory.New(found)}, nil
}

// position is file:line; empty for a live cluster.
func (o *objects) position(k netpol.Key, path string) string {
	if o.set == nil {
		return ""
	}
	return o.set.Position(k.Kind, k.Namespace, k.Name, path).String()
}

// remark says on standard error what was found in files and is not part of the answer.
func remark(errOut io.Writer, set *manifest.Set) {
	for _, w := range set.Warnings {
		fmt.Fprintln(errOut, printable(w))
	}
	var kinds []string
	for kind, n := range set.Skipped {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, kind.Kind))
	}
	if len(kinds) > 0 {
		slices.SortFunc(kinds, func(a, b string) int {
			return cmp.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
		})
		fmt.Fprintf(errOut, "skipped, because they say nothing about connections: %s\n", printable(strings.Join(kinds, ", ")))
	}
}
