// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"sync"
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Ring keeps the newest events of a node in a fixed amount of memory. Readers never hold a writer up:
// one that is too slow loses the oldest events and is told how many. All methods are safe for
// concurrent use.
type Ring struct {
	mu     sync.RWMutex
	events []event
	// next counts every event ever written; event n is at n modulo the capacity.
	next uint64
	// grown is closed, and replaced, when something is written.
	grown chan struct{}

	lastOverwritten time.Time // zero: nothing was
	flows           uint64
	lost            uint64
}

// Flow is what a ring keeps of a flow. Its message is several times as large as what it is made of, and most are
// never asked for, so it is made when it is.
type Flow struct {
	Time time.Time
	// Message makes the same message each time, which nobody may change. It may be called by several at once.
	Message func() *flowpb.Flow
}

// event is a flow, or the message that some were lost.
type event struct {
	Flow                              // Message is nil: some were lost
	lost *observerpb.GetFlowsResponse // nil: a flow
}

// response is the event as clients get it.
func (e *event) response() *observerpb.GetFlowsResponse {
	if e.lost != nil {
		return e.lost
	}
	f := e.Message()
	return &observerpb.GetFlowsResponse{
		NodeName: f.GetNodeName(), Time: f.GetTime(), ResponseTypes: &observerpb.GetFlowsResponse_Flow{Flow: f},
	}
}

// NewRing returns an empty ring for capacity events; capacity must be positive.
func NewRing(capacity int) *Ring {
	return &Ring{events: make([]event, capacity), grown: make(chan struct{})}
}

// Append adds flows in their order.
func (r *Ring) Append(flows []Flow) {
	if len(flows) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range flows {
		r.put(event{Flow: f})
	}
	r.flows += uint64(len(flows))
	r.wake()
}

// AppendLost records that the node lost count flows before they could be read from the kernel. Zero
// records nothing.
func (r *Ring) AppendLost(node string, count uint64, at time.Time) {
	if count == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := lostEvent(flowpb.LostEventSource_PERF_EVENT_RING_BUFFER, count, timestamppb.New(at))
	lost.NodeName = node
	r.put(event{Flow: Flow{Time: at}, lost: lost})
	r.lost += count
	r.wake()
}

func (r *Ring) put(e event) {
	slot := &r.events[r.next%uint64(len(r.events))]
	r.lastOverwritten = slot.Time
	*slot = e
	r.next++
}

func (r *Ring) wake() {
	close(r.grown)
	r.grown = make(chan struct{})
}

// Stats counts what the ring holds and held.
type Stats struct {
	Capacity, Held int
	// Seen counts flows since the start, Lost those that the kernel had no room for, Overwritten the
	// events that newer ones pushed out.
	Seen, Lost, Overwritten uint64
}

// Stats returns the counts of this moment.
func (r *Ring) Stats() Stats {
	r.mu.RLock()
	defer r.mu.RUnlock()
	oldest := r.oldest()
	return Stats{
		Capacity: len(r.events), Held: int(r.next - oldest), Seen: r.flows, Lost: r.lost, Overwritten: oldest,
	}
}

// oldest is the number of the oldest event still held, which is also how many were overwritten.
func (r *Ring) oldest() uint64 {
	if r.next <= uint64(len(r.events)) {
		return 0
	}
	return r.next - uint64(len(r.events))
}

// bounds returns the numbers of the oldest event held and of the one to be written next.
func (r *Ring) bounds() (oldest, next uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.oldest(), r.next
}

// overwrittenSince counts the events pushed out of the ring, if any of them was at or after since; nil
// means ever.
func (r *Ring) overwrittenSince(since *timestamppb.Timestamp) (count uint64, last *timestamppb.Timestamp) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.oldest() == 0 || since != nil && r.lastOverwritten.Before(since.AsTime()) {
		return 0, nil
	}
	return r.oldest(), timestamppb.New(r.lastOverwritten)
}

// read copies events from number `from` on into buf. It returns how many it copied, the number of the
// event after them, how many were overwritten before they could be read, and a channel that is closed
// by the next write.
func (r *Ring) read(from uint64, buf []event) (n int, next, missed uint64, grown <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if oldest := r.oldest(); from < oldest {
		missed, from = oldest-from, oldest
	}
	for ; n < len(buf) && from < r.next; n, from = n+1, from+1 {
		buf[n] = r.events[from%uint64(len(r.events))]
	}
	return n, from, missed, r.grown
}

func lostEvent(source flowpb.LostEventSource, count uint64, last *timestamppb.Timestamp) *observerpb.GetFlowsResponse {
	return &observerpb.GetFlowsResponse{
		Time: last,
		ResponseTypes: &observerpb.GetFlowsResponse_LostEvents{
			LostEvents: &flowpb.LostEvent{Source: source, NumEventsLost: count, Last: last},
		},
	}
}
