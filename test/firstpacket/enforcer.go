// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

// enforcer is the agent, as a process on the node that can be stopped and killed.
type enforcer struct {
	lab     *lab
	args    []string
	process *cluster.Process // nil: it does not run
	starts  int
}

// start returns when the node is ready, and the runtime holds new pods back if it is to.
func (e *enforcer) start(ctx context.Context) (err error) {
	e.starts++
	log := e.lab.file(fmt.Sprintf("enforcer-%d.log", e.starts))
	args := append([]string{"--node-name", e.lab.node.Name, "--kubeconfig", e.lab.kubeconfig, "--log-format=text"}, e.args...)
	if e.process, err = e.lab.node.StartProcess(e.lab.binary, log, args); err != nil {
		return err
	}
	return cluster.Until(ctx, patience, "bulkhead-enforcer to be ready", func(ctx context.Context) error {
		select {
		case <-e.process.Done():
			return fmt.Errorf("%w", e.process.EndedByItself())
		default:
		}
		out, err := e.lab.node.Run(ctx, e.lab.binary, "status")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
}

// kill ends it without a chance to do anything.
func (e *enforcer) kill() error {
	if e.process == nil {
		return nil
	}
	process := e.process
	e.process = nil
	return process.Stop(0)
}

// pause stops it where it is, and resume lets it go on.
func (e *enforcer) pause() error  { return e.process.Signal(syscall.SIGSTOP) }
func (e *enforcer) resume() error { return e.process.Signal(syscall.SIGCONT) }

// evidence writes what the enforcer says about itself.
func (e *enforcer) evidence(ctx context.Context, name string) error {
	if e.process == nil {
		return nil
	}
	status, err := e.lab.node.Run(ctx, e.lab.binary, "status")
	if err != nil {
		status = append(status, err.Error()...) // that it does not answer is evidence too
	}
	metrics, err := e.lab.node.Run(ctx, "curl", "-s", "http://127.0.0.1:9967/metrics")
	if err != nil {
		metrics = []byte(err.Error())
	}
	return os.WriteFile(e.lab.file(name+".txt"), append(append(status, '\n'), metrics...), 0o644)
}
