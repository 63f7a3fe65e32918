// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	// maxFollowers bounds the answers that are being sent at once.
	maxFollowers = 16
	// maxQuestion bounds a question in bytes.
	maxQuestion = 64 << 10
	// patience is how long a follower may take to read a line.
	patience = 10 * time.Second
)

// flows answers a GetFlowsRequest in JSON with one GetFlowsResponse a line, as `hubble observe -o json` prints
// them, until all is said, the client goes or the server is shut down.
func (w *website) flows(server *http.Server) http.HandlerFunc {
	ended, end := context.WithCancel(context.Background())
	server.RegisterOnShutdown(end)
	followers := make(chan struct{}, maxFollowers)
	return func(out http.ResponseWriter, req *http.Request) {
		select {
		case followers <- struct{}{}:
			defer func() { <-followers }()
		default:
			http.Error(out, fmt.Sprintf("%d others are being answered: try again later", maxFollowers), http.StatusServiceUnavailable)
			return
		}
		question, err := readQuestion(http.MaxBytesReader(out, req.Body, maxQuestion))
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		run, err := w.observer.Answer(question)
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		lines := lineWriter{out: out, control: http.NewResponseController(out)}
		if err := lines.begin(); err == nil {
			_ = run(ctx, lines.send) // the client has gone away, or will see that the agent has
		}
	}
}

func readQuestion(body io.Reader) (*observerpb.GetFlowsRequest, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the question: %w", err)
	}
	question := &observerpb.GetFlowsRequest{}
	if err := protojson.Unmarshal(text, question); err != nil {
		return nil, fmt.Errorf("the question is no GetFlowsRequest: %w", err)
	}
	return question, nil
}

// lineWriter sends each line at once. The server's time limits are for short answers.
type lineWriter struct {
	out     http.ResponseWriter
	control *http.ResponseController
}

func (l lineWriter) begin() error {
	l.out.Header().Set("Content-Type", "application/x-ndjson")
	return l.write(nil)
}

func (l lineWriter) send(event *observerpb.GetFlowsResponse) error {
	line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(event)
	if err != nil {
		return err
	}
	return l.write(append(line, '\n'))
}

func (l lineWriter) write(text []byte) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := l.out.Write(text); err != nil {
		return err
	}
	return l.control.Flush()
}
