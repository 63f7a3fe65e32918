// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Query says which flows an observer is asked for.
type Query struct {
	Since  time.Time // zero: not bounded by time
	Last   uint64    // the newest flows only; 0: all that the observer still has
	Follow bool      // go on with new flows until the context ends
}

// Stream is the flows of one address of an observer.
type Stream struct {
	address Address
	conn    *grpc.ClientConn
	flows   grpc.ClientStream
	options []Option
}

// Receive gives each flow to each until the observer has no more, or ctx ends, with which the stream was
// opened; both are nil. It returns each's error as it is. The Record given to each is valid during the
// call only.
func (s *Stream) Receive(ctx context.Context, stats *Stats, each func(*Record) error) error {
	var (
		d       = newDecoder(s.options...)
		message []byte
		rec     Record
	)
	for {
		err := s.flows.RecvMsg(&message)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("get flows from observer %s: %w", s.address, err)
		}
		if err := stats.receive(d, message, &rec, each); err != nil {
			return err
		}
	}
}

func (s *Stats) receive(d *decoder, message []byte, rec *Record, each func(*Record) error) error {
	lost, err := d.response(message, rec)
	if err = s.take(rec, lost, 1, err, each); err == nil {
		return nil
	}
	var stop *stopError // which takes memory
	if errors.As(err, &stop) {
		return stop.cause
	}
	s.Malformed++
	s.problem(fmt.Sprintf("flow of %s: %v", rec.Node, err))
	return nil
}

// Close ends the stream and its connection.
func (s *Stream) Close() error { return s.conn.Close() }

func (q Query) request() *observer.GetFlowsRequest {
	req := &observer.GetFlowsRequest{Follow: q.Follow, Number: q.Last}
	switch {
	case !q.Since.IsZero():
		req.Since = timestamppb.New(q.Since)
	case q.Last == 0:
		req.Since = timestamppb.New(time.Unix(1, 0)) // neither bound means "the last 0" to an observer
	}
	return req
}
