// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// demo is the state that the steps share.
type demo struct {
	config
	out io.Writer
	dir string // logs, repository, kubeconfigs; removed at the end

	plane    *cluster.ControlPlane
	api      kubernetes.Interface
	dynamic  dynamic.Interface
	parts    []*cluster.Process // started last comes last
	ports    ports
	network  network
	workload []*workload
}

// step is one part of the show.
type step struct {
	title string
	run   func(context.Context) error
}

func newDemo(c config, out io.Writer) *demo {
	return &demo{config: c, out: out, network: network{hosts: make(map[string]*host)}, workload: workloads()}
}

func (d *demo) steps() []step {
	return append(d.stepsWithoutPackets(),
		step{"OBSERVE  a three-tier application in mode audit, with real packets", d.observe},
		step{"PROPOSE  flows become proven policies on a branch", d.propose},
		step{"APPROVE  a reviewer merges; SYNC brings it into the cluster", d.approve},
		step{"ENFORCE  every connection of a table, attacks included", d.enforce},
	)
}

// stepsWithoutPackets need neither root nor eBPF.
func (d *demo) stepsWithoutPackets() []step {
	return []step{
		{"START    etcd and kube-apiserver, built from source; the parts of Bulkhead as processes", d.start},
		{"ONBOARD  a namespace has its policies before its first pod; unsafe objects are refused", d.onboard},
	}
}

// run shows the steps in order, and leaves nothing behind however they end.
func (d *demo) run(ctx context.Context, steps []step) (err error) {
	if d.dir, err = os.MkdirTemp("", "bulkhead-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.end()) }()
	begin := time.Now()
	for i, s := range steps {
		d.heading(fmt.Sprintf("%d/%d %s", i+1, len(steps), s.title))
		if err := s.run(ctx); err != nil {
			d.showLogs(ctx)
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if d.keep {
		d.invite()
		<-ctx.Done()
	}
	d.say("took %s", time.Since(begin).Round(time.Second))
	return nil
}

// showLogs prints the end of each part's log, unless the demo was interrupted.
func (d *demo) showLogs(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	for _, p := range d.parts {
		d.say("the end of the log of a part:\n%s", p.LogTail())
	}
}

// end stops what was started, last first, and removes the files. Links, routes and pinned maps go
// with the sandbox.
func (d *demo) end() error {
	var errs []error
	for i := len(d.parts) - 1; i >= 0; i-- {
		errs = append(errs, d.parts[i].Stop(5*time.Second))
	}
	for _, h := range d.network.hosts {
		if h != nil {
			errs = append(errs, h.stop())
		}
	}
	if d.plane != nil {
		errs = append(errs, d.plane.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

func (d *demo) path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "  "+format+"\n", args...) }

// heading is bold on a terminal.
func (d *demo) heading(text string) {
	if f, ok := d.out.(*os.File); ok && isTerminal(f) {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	fmt.Fprintf(d.out, "\n%s\n", text)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// until asks again until the condition holds, for at most 30 seconds.
func (d *demo) until(ctx context.Context, what string, condition func(context.Context) (bool, error)) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		done, err := condition(ctx)
		last = err
		return done && err == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // ended from outside, which is the reason
		return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
	}
	return fmt.Errorf("waiting until %s: %w", what, cmp.Or(last, err))
}
