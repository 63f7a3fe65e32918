// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-dev/bulkhead/test/cluster"
)

const (
	enforcerHTTP   = "127.0.0.1:9967" // free: the network namespace is the laboratory's own
	enforcerHubble = "127.0.0.1:4244"
	nodeName       = "laboratory"
	// readyWithin is how long the enforcer may take to be ready.
	readyWithin = time.Minute
)

// enforcer is bulkhead-enforcer as a process; nil process: it does not run.
type enforcer struct {
	lab     *lab
	process *cluster.Process
	runs    int
}

// launch starts a binary and does not wait.
func (e *enforcer) launch(binary string, more ...string) (err error) {
	l := e.lab
	e.runs++
	args := []string{
		"--kubeconfig=" + l.kubeconfig, "--node-name=" + nodeName, "--pin-path=" + filepath.Join(l.dir, "bpf"),
		"--netns-path=" + filepath.Join(l.dir, "netns"), "--nri-socket=", "--http-addr=" + enforcerHTTP,
		"--hubble-addr=" + enforcerHubble, "--log-format=text",
	}
	e.process, err = cluster.StartProcess(binary, filepath.Join(l.dir, fmt.Sprintf("enforcer-%d.log", e.runs)), append(args, more...))
	return err
}

// start returns when the enforcer is ready.
func (e *enforcer) start(ctx context.Context) error { return e.startBinary(ctx, e.lab.config.binary) }

func (e *enforcer) startBinary(ctx context.Context, binary string, more ...string) error {
	if err := e.launch(binary, more...); err != nil {
		return err
	}
	return e.ready(ctx)
}

// ready waits until the enforcer says that everything is enforced.
func (e *enforcer) ready(ctx context.Context) error {
	return poll(ctx, "the enforcer is ready", readyWithin, func() error {
		select {
		case <-e.process.Done():
			return fmt.Errorf("%w: %w", errFinal, e.process.EndedByItself())
		default:
		}
		s, err := e.status(ctx)
		if err == nil && !s.Ready {
			err = errors.New(strings.Join(s.Problems, "; "))
		}
		return err
	})
}

// end asks the enforcer to end, or with a grace of 0 kills it.
func (e *enforcer) end(grace time.Duration) error {
	if e.process == nil {
		return nil
	}
	err := e.process.Stop(grace)
	e.process = nil
	return err
}

// status is what of the enforcer's own report is looked at.
type status struct {
	Ready      bool     `json:"ready"`
	Problems   []string `json:"problems"`
	Generation uint32   `json:"generation"`
	Endpoints  []struct{}
	Maps       []struct {
		Name              string
		Entries, Capacity uint64
	}
}

func (e *enforcer) status(ctx context.Context) (*status, error) {
	text, err := get(ctx, "http://"+enforcerHTTP+"/status")
	if err != nil {
		return nil, err
	}
	s := &status{}
	return s, json.Unmarshal(text, s)
}

// metric is the value of a metric without labels.
func (e *enforcer) metric(ctx context.Context, name string) (value float64, err error) {
	text, err := get(ctx, "http://"+enforcerHTTP+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "bulkhead_enforcer_"+name+" "); found {
			_, err = fmt.Sscan(rest, &value)
			return value, err
		}
	}
	return 0, fmt.Errorf("the enforcer has no metric %s", name)
}

// usage is the memory of the enforcer's process and the processor time that it has taken.
func (e *enforcer) usage() (resident uint64, processor time.Duration, err error) {
	dir := filepath.Join("/proc", fmt.Sprint(e.process.Pid()))
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may have spaces
	fields := strings.Fields(rest)
	var user, system, pages uint64
	for i, value := range map[int]*uint64{11: &user, 12: &system, 21: &pages} {
		if _, err := fmt.Sscan(fields[i], value); err != nil {
			return 0, 0, err
		}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture
	return pages * uint64(os.Getpagesize()), time.Duration(user+system) * tick, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return text, err
}
