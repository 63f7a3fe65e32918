// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-dev/bulkhead/enforcer/internal/agent"
	"github.com/bulkhead-dev/bulkhead/enforcer/internal/observer"
)

// launch runs an agent whose configuration is changed by change (nil: not). It returns what stops it, and a channel
// with the error if it ends before.
func launch(t *testing.T, nodeName string, change func(*agent.Config)) (stop func(), ended <-chan error) {
	t.Helper()
	config := agent.Config{
		REST: enforcer, Node: nodeName, PinPath: t.TempDir() + "/bpf", HTTPAddr: httpAddr,
		Hubble: observer.Transport{Addr: hubbleAddr}, FlowInterval: 20 * time.Millisecond, FlowBuffer: 4096,
		CleanUp: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&config)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		defer close(result)
		result <- agent.Run(ctx, config)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-result; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop, result
}

// start launches an agent, waits until it is ready and returns what stops it.
func start(t *testing.T, nodeName string, change func(*agent.Config)) (stop func()) {
	t.Helper()
	stop, ended := launch(t, nodeName, change)
	eventually(t, "the agent is ready", func() error {
		select {
		case err := <-ended:
			t.Fatalf("the agent ended: %v", err)
		default:
		}
		return ready()
	})
	return stop
}

func ready() error {
	code, body, err := get("http://" + httpAddr + "/readyz")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d: %s", code, body)
	}
	return err
}
