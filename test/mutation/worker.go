// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/mutation/mutant"
)

// deadline of one mutant. The judge counts steps itself, so only what never asks for a mutant gets there.
const deadline = time.Minute

// worker is a running judge. A mutant that ends it, or goes over the deadline, is killed; the next
// mutant gets a new one.
type worker struct {
	binary string
	args   []string

	cmd       *exec.Cmd // nil: not running
	questions io.WriteCloser
	answers   *json.Decoder
	stderr    bytes.Buffer
}

// judge asks what becomes of a mutant. The error is the judge's, not the mutant's.
func (w *worker) judge(ctx context.Context, q mutant.Question) (mutant.Answer, error) {
	if w.cmd == nil {
		if err := w.start(ctx); err != nil {
			return mutant.Answer{}, err
		}
	}
	answer, err := w.ask(q)
	if err == nil {
		return answer, nil
	}
	_ = w.cmd.Wait() // the status says less than its last words
	w.cmd = nil
	how, _, _ := strings.Cut(strings.TrimSpace(w.stderr.String()), "\n")
	return mutant.Answer{ID: q.ID, By: "crash", How: how, Reached: true}, ctx.Err()
}

// start runs the judge as far as its answer for no mutant.
func (w *worker) start(ctx context.Context) (err error) {
	w.cmd = exec.CommandContext(ctx, w.binary, w.args...)
	w.cmd.Env = append(os.Environ(), "GOGC=400") // a third of the time would go into garbage
	w.stderr.Reset()
	w.cmd.Stderr = &w.stderr
	if w.questions, err = w.cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start the judge: %w", err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the judge: %w", err)
	}
	if err := w.cmd.Start(); err != nil {
		return fmt.Errorf("start the judge: %w", err)
	}
	w.answers = json.NewDecoder(out)
	if _, err := w.ask(mutant.Question{}); err != nil {
		_ = w.cmd.Wait()
		w.cmd = nil
		return fmt.Errorf("the judge does not work without a mutant: %s", w.stderr.String())
	}
	return nil
}

func (w *worker) ask(q mutant.Question) (answer mutant.Answer, err error) {
	watch := time.AfterFunc(deadline, func() { _ = w.cmd.Process.Kill() })
	defer watch.Stop()
	if err := json.NewEncoder(w.questions).Encode(q); err != nil {
		return answer, err
	}
	err = w.answers.Decode(&answer)
	return answer, err
}

// close ends the judge, which then says whether a mutant has left something behind.
func (w *worker) close() error {
	if w.cmd == nil {
		return nil
	}
	_ = w.questions.Close()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("after all mutants: %w: %s", err, w.stderr.String())
	}
	return nil
}
