// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// runSuite runs e2e.test with its output in e2e.log and shows how far it is. That specs fail is not an error here.
func (l *lab) runSuite(ctx context.Context) error {
	suite, err := cluster.Tool(ctx, "e2e.test", l.out)
	if err != nil {
		return err
	}
	kubeconfig, err := l.Kubeconfig("admin", "system:masters")
	if err != nil {
		return err
	}
	if err := os.RemoveAll(l.file("report.json")); err != nil { // an earlier run's
		return err
	}
	cmd := exec.CommandContext(ctx, suite, "--provider=skeleton", fmt.Sprintf("--num-nodes=%d", l.Nodes()),
		"--allowed-not-ready-nodes=0", "--kubeconfig="+kubeconfig,
		"--ginkgo.focus="+l.focus, "--ginkgo.skip="+l.skip, "--ginkgo.no-color", "--ginkgo.v", "--ginkgo.timeout=1h",
		"--ginkgo.json-report="+l.file("report.json"))
	// The kernel watches the thread that started it, which must not end before.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // then it still writes its report
	cmd.WaitDelay = time.Minute
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	err = l.follow(output)
	var exit *exec.ExitError
	if ended := cmd.Wait(); !errors.As(ended, &exit) {
		err = errors.Join(err, ended)
	}
	return errors.Join(err, ctx.Err())
}

// follow copies the suite's output into e2e.log and shows each spec that has ended.
func (l *lab) follow(output io.Reader) error {
	log, err := os.Create(l.file("e2e.log"))
	if err != nil {
		return err
	}
	lines := bufio.NewReader(io.TeeReader(output, log))
	ended := 0
	for {
		line, err := lines.ReadString('\n')
		// Such a line is the verdict of a spec, perhaps behind the marks of those that were skipped.
		if _, verdict, found := strings.Cut(line, "• "); found && strings.HasPrefix(verdict, "[") {
			ended++
			l.say("  spec %d: %s", ended, strings.TrimSpace(verdict))
		}
		if errors.Is(err, io.EOF) {
			return log.Close()
		}
		if err != nil {
			return errors.Join(err, log.Close())
		}
	}
}

// report is the part of Ginkgo's report that is read: one for each suite.
type report []struct {
	SuiteSucceeded bool
	SpecReports    []spec
}

type spec struct {
	ContainerHierarchyTexts []string
	LeafNodeType            string // It: a test
	LeafNodeText            string
	State                   string // passed, failed, skipped, ...
	RunTime                 time.Duration
	Failure                 struct{ Message string }
}

// summarize prints how the specs went, and returns errFailed unless all passed.
func (l *lab) summarize() error {
	content, err := os.ReadFile(l.file("report.json"))
	if err != nil {
		return fmt.Errorf("the suite wrote no report; see %s: %w", l.file("e2e.log"), err)
	}
	var r report
	if err := json.Unmarshal(content, &r); err != nil {
		return fmt.Errorf("%s: %w", l.file("report.json"), err)
	}
	passed, ran, succeeded := r.print(l.out)
	engine := "bulkhead-enforcer"
	if l.enforcer == "" {
		engine = "no enforcer"
	}
	l.say("\n%d of %d specs passed with %s, CNI %s, nodes: %d (logs in %s)", passed, ran, engine, l.CNI, l.Nodes(), l.output)
	if passed < ran || ran == 0 || !succeeded {
		return errFailed
	}
	return nil
}

func (r report) print(out io.Writer) (passed, ran int, succeeded bool) {
	succeeded = len(r) > 0
	for _, suite := range r {
		succeeded = succeeded && suite.SuiteSucceeded
		for _, s := range suite.SpecReports {
			if s.LeafNodeType != "It" || s.State == "skipped" || s.State == "pending" {
				continue
			}
			ran++
			if s.State == "passed" {
				passed++
			}
			fmt.Fprintf(out, "%-8s %4.0fs  %s\n", s.State, s.RunTime.Seconds(), s.name())
			if s.Failure.Message != "" {
				fmt.Fprintf(out, "                %s\n", s.Failure.Message)
			}
		}
	}
	return passed, ran, succeeded
}

func (s spec) name() string {
	suite := min(1, len(s.ContainerHierarchyTexts)) // which all have in common
	return strings.Join(append(s.ContainerHierarchyTexts[suite:], s.LeafNodeText), " ")
}
