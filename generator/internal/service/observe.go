// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/bulkhead-dev/bulkhead/generator/internal/edge"
	"github.com/bulkhead-dev/bulkhead/generator/internal/flows"
	"github.com/bulkhead-dev/bulkhead/generator/internal/inventory"
	"github.com/bulkhead-dev/bulkhead/generator/internal/tree"
)

// observations is everything seen so far. It is safe for concurrent use.
type observations struct {
	mu       sync.Mutex
	fold     *edge.Fold
	inv      *inventory.Inventory
	loss     tree.Loss
	meter    *meter
	recalled bool // something was seen before this start
}

// saved is the state file.
type saved struct {
	Edges *edge.Fold `json:"edges"`
	Loss  tree.Loss  `json:"loss"`
}

// recall goes on from a state file. One that is not there yet is no error, a damaged one is: going
// on without it would propose to take away rules.
func recall(file string, inv *inventory.Inventory, m *meter) (*observations, error) {
	o := &observations{fold: edge.NewFold(edge.DefaultLimit), inv: inv, meter: m}
	if file == "" {
		return o, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	state := saved{Edges: o.fold}
	if err == nil {
		err = json.Unmarshal(data, &state)
	}
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w (move it away to start from nothing)", file, err)
	}
	o.loss, o.recalled = state.Loss, o.fold.Len() > 0
	return o, nil
}

func (o *observations) save(file string) error {
	if file == "" {
		return nil
	}
	o.mu.Lock()
	data, err := json.Marshal(saved{o.fold, o.loss})
	o.mu.Unlock()
	if err == nil {
		err = replace(file, data)
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w", file, err)
	}
	return nil
}

// use switches to a newer inventory and returns what was seen.
func (o *observations) use(inv *inventory.Inventory) ([]edge.Edge, tree.Loss) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inv = inv
	return o.fold.Edges(), o.loss
}

// add folds one flow. A full fold does not end the service: it is counted as a loss, and the
// proposals say so.
func (o *observations) add(r *flows.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.fold.Add(o.inv.Key(r), inventory.Observe(r)); err != nil {
		o.loss.Lost++
		o.meter.lost.Inc()
	} else {
		o.loss.Flows++
	}
	o.meter.edges.Set(float64(o.fold.Len()))
}

// missed adds what an observer reported since the last call.
func (o *observations) missed(before, now flows.Stats) {
	lost, malformed := now.Lost-before.Lost, now.Malformed-before.Malformed
	o.mu.Lock()
	o.loss.Lost += lost
	o.loss.Malformed += malformed
	o.mu.Unlock()
	o.meter.lost.Add(float64(lost))
	o.meter.malformed.Add(float64(malformed))
}
