// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
)

// shutdown is how long requests that are being answered may take when the agent ends.
const shutdown = 3 * time.Second

// sockets are open before anything is enforced: an address in use is an error of the start.
type sockets struct {
	hubble, http net.Listener
	hubbleServer *grpc.Server
}

func listen(config Config) (s *sockets, err error) {
	s = &sockets{}
	if s.hubble, s.hubbleServer, err = config.Hubble.Listen(); err != nil {
		return nil, err
	}
	if s.http, err = net.Listen("tcp", config.HTTPAddr); err != nil {
		return nil, errors.Join(fmt.Errorf("serve health and metrics on --http-addr %s: %w", config.HTTPAddr, err), s.hubble.Close())
	}
	return s, nil
}

// close is for a start that failed; servers close what they served.
func (s *sockets) close() {
	s.hubble.Close()
	s.http.Close()
}

// serveHubble ends streams that follow at once: they have no end of their own.
func serveHubble(ctx context.Context, server *grpc.Server, l net.Listener) error {
	defer context.AfterFunc(ctx, server.Stop)()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the Observer API: %w", err)
	}
	return nil
}

func serveHTTP(ctx context.Context, server *http.Server, l net.Listener) error {
	defer context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
		defer cancel()
		_ = server.Shutdown(bounded)
	})()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	return nil
}
