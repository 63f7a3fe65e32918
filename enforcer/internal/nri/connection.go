// SPDX-License-Identifier: Apache-2.0

package nri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/net/multiplex"
	"github.com/containerd/nri/pkg/version"
	"github.com/containerd/ttrpc"
	"github.com/sirupsen/logrus"
)

// connect serves one connection until it or ctx ends. It returns why.
func (p *Plugin) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: api.DefaultPluginRegistrationTimeout}
	trunk, err := dialer.DialContext(ctx, "unix", p.Socket)
	if err != nil {
		return fmt.Errorf("connect to the runtime: %w", err)
	}
	mux := multiplex.Multiplex(trunk)
	defer mux.Close() // and the trunk
	defer context.AfterFunc(ctx, func() { mux.Close() })()
	listener, err := mux.Listen(multiplex.PluginServiceConn)
	if err != nil {
		return err
	}
	toRuntime, err := mux.Open(multiplex.RuntimeServiceConn)
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	session := &session{plugin: p}
	server.RegisterService("nri.pkg.api.v1alpha1.Plugin", session.service())
	closed := make(chan struct{})
	client := ttrpc.NewClient(toRuntime, ttrpc.WithOnClose(func() { close(closed) }))
	defer client.Close()
	served := make(chan struct{})
	go func() {
		_ = server.Serve(log.WithLogger(ctx, silent()), listener) // it says no more than that the connection ended
		close(served)
	}()
	defer func() {
		mux.Close()
		server.Close()
		<-served
		session.end()
	}()
	if err := register(ctx, client); err != nil {
		return err
	}
	select {
	case <-closed:
	case <-served:
	}
	return errors.New("the runtime closed the connection")
}

func register(ctx context.Context, client *ttrpc.Client) error {
	ctx, cancel := context.WithTimeout(ctx, api.DefaultPluginRegistrationTimeout)
	defer cancel()
	request := &api.RegisterPluginRequest{PluginName: pluginName, PluginIdx: pluginIndex, NRIVersion: version.GetFromBuildInfo()}
	if _, err := api.NewRuntimeClient(client).RegisterPlugin(ctx, request); err != nil {
		return fmt.Errorf("register with the runtime: %w", err)
	}
	return nil
}

// silent is for what the protocol's library logs, in a format of its own: that a connection ended.
func silent() *log.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

// answerWithin is the time for an answer, if the runtime waits for timeout (0: not told).
func answerWithin(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		timeout = api.DefaultPluginRequestTimeout
	}
	return min(deadline, timeout/2)
}
