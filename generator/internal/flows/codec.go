// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"context"
	"fmt"

	"github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// rawCodec hands on the bytes of messages that come, into a *[]byte, which it overwrites.
type rawCodec struct{}

// Name is that of protobuf: the bytes on the wire are the usual ones.
func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", v)
	}
	data, err := proto.Marshal(m)
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not a buffer", v)
	}
	*into = (*into)[:0]
	for _, part := range data {
		*into = append(*into, part.ReadOnlyData()...)
	}
	return nil
}

// getFlows calls GetFlows of the Observer API. Its messages are received into a *[]byte.
func getFlows(ctx context.Context, conn *grpc.ClientConn, q Query) (grpc.ClientStream, error) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, observer.Observer_GetFlows_FullMethodName, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(q.request()); err != nil {
		return nil, err
	}
	return stream, stream.CloseSend()
}
