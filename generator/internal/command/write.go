// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	gosync "sync"

	"github.com/spf13/cobra"

	"github.com/bulkhead-dev/bulkhead/generator/internal/proof"
	"github.com/bulkhead-dev/bulkhead/generator/internal/proposal"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// writer puts what namespaces get beside their places, one after the other as they are made, and into them when all
// are. It is safe for concurrent use.
type writer struct {
	cluster, out string
	lock         gosync.Mutex
	staging      *tree.Staging // nil: there is nothing yet
	said         []said
}

// said is what is told of a namespace. Notices are of its proposal; the others are true once it is written.
type said struct {
	namespace                   string
	notices, summary, complaint bytes.Buffer
}

func (w *writer) take(n *proposal.Namespace) error {
	dir := tree.Dir(w.cluster, n.Name)
	merged, err := tree.Merge(n.Existing, n.Files)
	if err != nil {
		return fmt.Errorf("merge with what is in %s: %w", filepath.Join(w.out, dir), err)
	}
	report, err := n.ProveFinal(merged.Files)
	if err != nil {
		return err
	}
	staging, err := w.stage()
	if err != nil {
		return err
	}
	if merged.Changed {
		if err := staging.Add(dir, merged.Files); err != nil {
			return fmt.Errorf("--out %s: %w", w.out, err)
		}
	}
	s := said{namespace: n.Name}
	notice(&s.notices, n)
	written{dir, n, merged, report}.summarise(&s.summary, &s.complaint)
	w.lock.Lock()
	defer w.lock.Unlock()
	w.said = append(w.said, s)
	return nil
}

func (w *writer) stage() (_ *tree.Staging, err error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.staging == nil {
		if w.staging, err = tree.Stage(w.out); err != nil {
			return nil, fmt.Errorf("--out %s: %w", w.out, err)
		}
	}
	return w.staging, nil
}

// commit puts all into place and says so.
func (w *writer) commit(cmd *cobra.Command, p *proposal.Proposal) error {
	slices.SortFunc(w.said, func(a, b said) int { return cmp.Compare(a.namespace, b.namespace) })
	notices(cmd.ErrOrStderr(), p)
	for i := range w.said {
		cmd.ErrOrStderr().Write(w.said[i].notices.Bytes())
	}
	staging, err := w.stage()
	if err != nil {
		return err
	}
	if err := staging.Commit(); err != nil {
		return fmt.Errorf("--out %s: %w", w.out, err)
	}
	for i := range w.said { // only now it is true
		cmd.OutOrStdout().Write(w.said[i].summary.Bytes())
		cmd.ErrOrStderr().Write(w.said[i].complaint.Bytes())
	}
	return nil
}

func (w *writer) close() error {
	if w.staging == nil {
		return nil
	}
	return w.staging.Close()
}

// written is what becomes of one namespace's directory.
type written struct {
	dir       string
	namespace *proposal.Namespace
	merged    *tree.Merged
	report    *proof.Report // of the merged files
}

func (w written) summarise(out, errOut io.Writer) {
	if w.merged.Changed {
		n, proven := w.namespace, "proven"
		if !w.report.Proven {
			proven = "not proven because of what people edited"
		}
		fmt.Fprintf(out, "%s: %d policies for %d connections, %s; %d combinations allowed beyond what was seen; %d edges listed, not learned\n",
			w.dir, len(n.Policies), len(n.Connections), proven, w.report.Excess.Count, len(n.Listed))
	} else {
		fmt.Fprintf(out, "%s: nothing changed\n", w.dir)
	}
	for _, b := range w.report.Broken {
		fmt.Fprintf(errOut, "%s: not allowed: %s (%s)\n", w.dir, printable(b.Connection), b.Reason)
	}
	for _, f := range w.merged.Kept {
		fmt.Fprintf(errOut, "%s/%s is a person's and stays as it is\n", w.dir, f)
	}
	for _, f := range w.merged.Absent {
		fmt.Fprintf(errOut, "%s/%s was deleted by a person and stays away\n", w.dir, f)
	}
}
