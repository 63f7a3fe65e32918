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

// startWith runs an agent whose configuration is changed by change (nil: not), waits until it is ready and
// returns what stops it.
func startWith(t *testing.T, nodeName string, change func(*agent.Config)) (stop func()) {
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
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx, config) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the agent is ready", ready)
	return stop
}

func ready() error {
	code, body, err := get("http://" + httpAddr + "/readyz")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d: %s", code, body)
	}
	return err
}
