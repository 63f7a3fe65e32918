// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// tailBytes of a log go into an error message.
const tailBytes = 4096

// Process is a child that the kernel ends together with this process.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended and was waited for
	exit error         // how it ended; read after done
}

// StartProcess runs binary with its output in the file log. The kernel kills
// it when this process ends.
func StartProcess(binary, log string, args []string) (*Process, error) {
	return start(exec.Command(binary, args...), log, nil)
}

// start runs cmd as StartProcess does, from a thread that called enter first: the child begins in the
// namespaces of that thread. With enter the kernel does not end the child with this process; that is
// left to the first process of its namespace. Nil: no namespace is entered.
func start(cmd *exec.Cmd, log string, enter func() error) (*Process, error) {
	p := &Process{name: filepath.Base(cmd.Path), log: log, cmd: cmd, done: make(chan struct{})}
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", p.name, err)
	}
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A process group of its own keeps a terminal's Ctrl-C from the child: whoever is
	// interrupted may still need it to put things in order.
	cmd.SysProcAttr.Setpgid = true
	if enter == nil {
		// In another process namespace it would not find its parent alive, and end at once.
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	started := make(chan error)
	go func() {
		_ = onThread(func() error {
			p.keep(started, enter)
			return nil
		})
	}()
	err = <-started
	_ = out.Close() // the child has its own descriptor
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// keep starts the child and waits for it. The kernel sends Pdeathsig when the
// *thread* that forked ends, so the caller's thread must be its own for as long
// as the child lives.
func (p *Process) keep(started chan<- error, enter func() error) {
	if enter != nil {
		if err := enter(); err != nil {
			started <- err
			return
		}
	}
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.exit = p.cmd.Wait()
	close(p.done)
}

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends the child a signal, such as SIGSTOP to see what others do without
// it.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s (pid %d): %w", p.name, p.cmd.Process.Pid, err)
	}
	return nil
}

// Stop asks the child to end (SIGTERM), kills it when it has not after grace,
// and waits until it is gone. A grace of 0 kills it at once. The error is not
// nil if the child had ended before.
func (p *Process) Stop(grace time.Duration) error {
	select {
	case <-p.done:
		return p.EndedByItself()
	default:
	}
	if grace > 0 {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-p.done:
			return nil
		case <-time.After(grace):
		}
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s (pid %d): %w", p.name, p.cmd.Process.Pid, err)
	}
	<-p.done
	return nil
}

// EndedByItself is the error of a child that ended when nobody asked it to,
// with the end of its log. It must be called after Done is closed.
func (p *Process) EndedByItself() error {
	tail := p.LogTail()
	err := fmt.Errorf("%s ended by itself: %v\n%s", p.name, p.exit, tail)
	if bytes.Contains(tail, []byte("address already in use")) {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

// LogTail is the end of the log, from the start of a line.
func (p *Process) LogTail() []byte {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	if len(content) <= tailBytes {
		return content
	}
	content = content[len(content)-tailBytes:]
	if _, rest, found := bytes.Cut(content, []byte("\n")); found {
		return rest
	}
	return content
}
