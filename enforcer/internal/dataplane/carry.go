// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/bulkhead-dev/bulkhead/bpf"
)

const (
	// carryBatch is how many connections are read at a time; more than a bucket of the kernel's table has.
	carryBatch = 4096
	// connectionKnown is how many bytes every version knows of a connection: versions add to the end of struct
	// connection in bpf/headers/state.h.
	connectionKnown = unsafe.Offsetof(bpf.DatapathConnection{}.Pad)
)

// carryConnections copies what the maps of versions with another layout know of open connections, unless it is known
// here: who opened one cannot be told from a datagram that answers it. Each is judged again with its next packet.
func (d *Dataplane) carryConnections() error {
	others, err := filepath.Glob(filepath.Join(d.pins.root, mapsPrefix+"*", bpf.DatapathMapConnections))
	if err != nil {
		return err
	}
	for _, path := range others {
		if filepath.Dir(path) == d.pins.maps {
			continue
		}
		if err := d.carryFrom(path); err != nil {
			return fmt.Errorf("carry over the connections in %s: %w", path, err)
		}
	}
	return nil
}

func (d *Dataplane) carryFrom(path string) error {
	old, err := ebpf.LoadPinnedMap(path, &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer old.Close()
	to := d.objs.Connections
	if old.Type() != to.Type() || old.KeySize() != to.KeySize() || old.ValueSize() < uint32(connectionKnown) {
		return nil // of a version that knows connections by something else
	}
	keys, values := rows(old.KeySize()), rows(old.ValueSize())
	carried := make([]byte, to.ValueSize())
	var cursor ebpf.MapBatchCursor
	for {
		n, err := old.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		for i := range n {
			copy(carried, values.Index(i).Slice(0, int(connectionKnown)).Bytes())
			// No world has generation 0.
			binary.NativeEndian.PutUint64(carried[unsafe.Offsetof(bpf.DatapathConnection{}.Generation):], 0)
			if err := to.Update(keys.Index(i).Bytes(), carried, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// rows is a slice of carryBatch arrays of that many bytes.
func rows(size uint32) reflect.Value {
	row := reflect.ArrayOf(int(size), reflect.TypeFor[byte]())
	return reflect.MakeSlice(reflect.SliceOf(row), carryBatch, carryBatch)
}
