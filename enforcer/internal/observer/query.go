// SPDX-License-Identifier: Apache-2.0

package observer

import (
	"context"
	"errors"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	observerpb "github.com/cilium/cilium/api/v1/observer"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// readBatch is how many events a reader takes out of the ring at once.
const readBatch = 256

// query is one GetFlows request.
type query struct {
	number        uint64 // 0: all
	first, follow bool
	since, until  *timestamppb.Timestamp // nil: unbounded
	wanted        selection
	fields        mask
}

func newQuery(req *observerpb.GetFlowsRequest) (*query, error) {
	if req.GetFirst() && req.GetFollow() {
		return nil, errors.New("first and follow cannot be combined")
	}
	fields, err := newMask(req.GetFieldMask().GetPaths())
	if err != nil {
		return nil, err
	}
	wanted, err := newSelection(req.GetWhitelist(), req.GetBlacklist())
	if err != nil {
		return nil, err
	}
	return &query{
		number: req.GetNumber(), first: req.GetFirst(), follow: req.GetFollow(),
		since: req.GetSince(), until: req.GetUntil(), wanted: wanted, fields: fields,
	}, nil
}

type sendFunc func(*observerpb.GetFlowsResponse) error

// errAnswered ends a query that has sent everything it asked for.
var errAnswered = errors.New("answered")

// run sends what the query selects until it is answered or ctx ends.
func (q *query) run(ctx context.Context, ring *Ring, send sendFunc) error {
	from, end := q.start(ring)
	if q.first || q.since != nil {
		if err := q.reportOverwritten(ring, send); err != nil {
			return err
		}
	}
	buf := make([]event, readBatch)
	for sent := uint64(0); q.follow || from < end; {
		n, next, missed, grown := ring.read(from, buf)
		if err := reportMissed(missed, send); err != nil {
			return err
		}
		if !q.follow {
			n = min(n, int(end-min(end, from+missed)))
		}
		from = next
		if err := q.sendSelected(buf[:n], &sent, send); err != nil {
			if errors.Is(err, errAnswered) {
				return nil
			}
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
	return nil
}

// sendSelected adds to sent, and returns errAnswered when nothing that comes later can be wanted.
func (q *query) sendSelected(events []event, sent *uint64, send sendFunc) error {
	for i := range events {
		e := &events[i]
		if q.follow && q.after(e) || !q.follow && q.number > 0 && *sent == q.number {
			return errAnswered
		}
		response := q.selected(e)
		if response == nil {
			continue
		}
		if err := send(q.fields.event(response)); err != nil {
			return err
		}
		if e.lost == nil {
			*sent++
		}
	}
	return nil
}

// start returns the number of the first event to look at and of the first one written after the request.
func (q *query) start(ring *Ring) (from, end uint64) {
	oldest, end := ring.bounds()
	switch {
	case q.first:
		return oldest, end
	case q.follow && q.number == 0 && q.since == nil:
		return end, end
	case q.number == 0:
		return oldest, end
	}
	return q.lastNumber(ring, oldest, end), end
}

// lastNumber returns where the last q.number selected flows before end begin.
func (q *query) lastNumber(ring *Ring, oldest, end uint64) uint64 {
	one := make([]event, 1)
	found := uint64(0)
	for at := end; at > oldest; at-- {
		n, _, missed, _ := ring.read(at-1, one)
		if n == 0 || missed > 0 {
			return at
		}
		if one[0].lost != nil || q.selected(&one[0]) == nil {
			continue
		}
		if found++; found == q.number {
			return at - 1
		}
	}
	return oldest
}

// selected is the event if it is wanted, else nil. Lost events within the time bounds are, whatever the filters are:
// a reader must know that what it sees is not everything.
func (q *query) selected(e *event) *observerpb.GetFlowsResponse {
	if q.since != nil && e.Time.Before(q.since.AsTime()) || q.after(e) {
		return nil
	}
	response := e.response()
	if f := response.GetFlow(); f != nil && !q.wanted.matches(f) {
		return nil
	}
	return response
}

func (q *query) after(e *event) bool { return q.until != nil && e.Time.After(q.until.AsTime()) }

func (q *query) reportOverwritten(ring *Ring, send sendFunc) error {
	count, last := ring.overwrittenSince(q.since)
	if count == 0 {
		return nil
	}
	return send(lostEvent(flowpb.LostEventSource_HUBBLE_RING_BUFFER, count, last))
}

func reportMissed(missed uint64, send sendFunc) error {
	if missed == 0 {
		return nil
	}
	return send(lostEvent(flowpb.LostEventSource_HUBBLE_RING_BUFFER, missed, timestamppb.Now()))
}
