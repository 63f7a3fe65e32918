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
	mux := multiplex.Multiplex(trunk, multiplex.WithBlockedRead()) // what comes before somebody listens is lost
	defer mux.Close()                                              // and the trunk
	defer context.AfterFunc(ctx, func() { mux.Close() })()
	stop, err := p.serve(ctx, mux)
	if err != nil {
		return err
	}
	defer stop()
	toRuntime, err := mux.Open(multiplex.RuntimeServiceConn)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	client := ttrpc.NewClient(toRuntime, ttrpc.WithOnClose(func() { close(closed) }))
	defer client.Close()
	mux.Unblock()
	if err := register(ctx, client); err != nil {
		return err
	}
	<-closed
	return errors.New("the runtime closed the connection")
}

// serve answers what the runtime asks until stop is called.
func (p *Plugin) serve(ctx context.Context, mux multiplex.Mux) (stop func(), err error) {
	listener, err := mux.Listen(multiplex.PluginServiceConn)
	if err != nil {
		return nil, err
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	session := &session{plugin: p}
	server.RegisterService("nri.pkg.api.v1alpha1.Plugin", session.service())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(log.WithLogger(ctx, silent()), listener) // it says no more than that it was closed
	}()
	return func() {
		server.Close()
		<-served
		session.end()
	}, nil
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
